/** Makes what others than its owner get of a public object. */
import type { Log } from '../log.ts'
import { notFound, Problem } from '../problem.ts'
import type { Storage } from '../storage/storage.ts'
import type { Decode } from './decoding.ts'
import { createMoves } from './moves.ts'
import { dispositionOf, type StoredObject } from './object.ts'
import { refusalOf } from './outcomes.ts'
import { CLEAN, type Publicity } from './publicity.ts'
import type { Relay } from './relay.ts'
import type { Repository } from './repository.ts'
import { isRefusal } from './retries.ts'

/**
 * The key of the copy, made now; `party`: see `DecodeRequest`. Throws Problem `not_found` when the object is not public
 * any more, `image_too_large` or `image_unreadable` when it is a picture that has to stay with its owner, or `overloaded`.
 */
export type Publish = (object: StoredObject, party: string) => Promise<string>

type Deps = {
  repository: Repository
  storage: Storage
  relay: Relay
  decode: Decode
  publicity: Publicity
  log: Log
}

// How long a picture waits for its turn.
const PATIENCE_MS = 20_000

export function createPublish({ repository, storage, relay, decode, publicity, log }: Deps): Publish {
  const moves = createMoves({ repository, storage, log })
  /** What comes while one is made waits for that one. */
  const making = new Map<string, Promise<string>>()

  async function cleaned(object: StoredObject, party: string): Promise<Uint8Array> {
    const remembered = await repository.findOutcomes(object.id, decode.version)
    const refusal = remembered && refusalOf(remembered, 'clean')
    if (refusal) throw refusal
    const task = { kind: 'clean', mimeType: object.mimeType } as const
    const { bytes } = await decode(object, task, { party, until: Date.now() + PATIENCE_MS })
    if (bytes === undefined) throw new Error('the decoders made no copy')
    return bytes
  }

  /** The key is one that was never used before, and lies where the object's row has it looked after. */
  async function store(object: StoredObject, party: string): Promise<string> {
    const { id, key, mimeType } = object
    if (!publicity.mustBeClean(object)) {
      const stored = await storage.head(key)
      if (stored === null) throw new Problem('storage_unavailable', 'The bytes could not be found. Try again.')
      return moves.copy(object, publicity.home, stored.etag)
    }
    const bytes = await cleaned(object, party)
    const name = `${CLEAN}${key.slice(key.lastIndexOf('.'))}`
    const to = await moves.announce(id, publicity.home, name)
    await storage.put(to, bytes, { contentType: mimeType, disposition: dispositionOf(mimeType) })
    return to
  }

  async function make(object: StoredObject, party: string): Promise<string> {
    const { id, publicKey } = object
    const to = await store(object, party).catch(async (error) => {
      if (error instanceof Problem && isRefusal(error)) await repository.refusePublication(id)
      throw error
    })
    const url = publicity.atCdn({ ...object, publicKey: to })
    const row = await repository.publish(
      object,
      to,
      url === null ? undefined : { channel: 'photo:updated', fields: { url } },
    )
    if (row !== null) {
      await relay.send([row]).catch((error) => log.warn({ err: error }, 'publish: event not sent, it stays owed'))
      if (publicKey !== null) await moves.remove(publicKey)
      return to
    }
    await moves.remove(to)
    const others = await repository.findVisible(id, null)
    const copy = others && publicity.copyOf(others)
    if (copy) return copy
    throw notFound()
  }

  return async function publish(object, party) {
    const { id } = object
    const underWay = making.get(id)
    if (underWay !== undefined) return underWay
    const made = make(object, party).finally(() => making.delete(id))
    making.set(id, made)
    return made
  }
}
