/** Makes the public copy of an object. */

import type { Log } from '../../log.ts'
import { notFound, Problem } from '../../problem.ts'
import type { Storage } from '../../storage/storage.ts'
import { createMoves } from '../bytes/rekey.ts'
import type { Decode } from '../decoding/decode.ts'
import { dispositionOf, type StoredObject } from '../object/object.ts'
import { isRefusal, refusalOf } from '../object/outcomes.ts'
import type { Relay } from '../outbox/relay.ts'
import type { Repository } from '../table/repository.ts'
import { CLEAN, type Publicity } from './address.ts'

/**
 * Makes the public copy now, and returns its key; `party`: see `DecodeRequest`. Throws Problem `not_found` when the
 * object is no longer public, `image_too_large` or `image_unreadable` for a picture that cannot be cleaned and so stays
 * with its owner, or `overloaded`.
 */
export type Publish = (object: StoredObject, party: string) => Promise<string>

type Deps = {
  repository: Pick<Repository, 'objects' | 'outcomes' | 'publicCopies' | 'transients'>
  storage: Storage
  relay: Relay
  decode: Decode
  publicity: Publicity
  log: Log
}

// How long a picture waits for a decoder.
const PATIENCE_MS = 20_000

export function createPublish({ repository, storage, relay, decode, publicity, log }: Deps): Publish {
  const moves = createMoves({ repository, storage, log })
  /** Concurrent calls for one object share one copy. */
  const making = new Map<string, Promise<string>>()

  async function cleaned(object: StoredObject, party: string): Promise<Uint8Array> {
    const remembered = await repository.outcomes.find(object.id, decode.version)
    const refusal = remembered && refusalOf(remembered, 'clean')
    if (refusal) throw refusal
    const task = { kind: 'clean', mimeType: object.mimeType } as const
    const { bytes } = await decode(object, task, { party, until: Date.now() + PATIENCE_MS })
    if (bytes === undefined) throw new Error('the decoders made no copy')
    return bytes
  }

  /** Stores the copy under a new key, which the row has reserved. Null when the object is no longer public. */
  async function store(object: StoredObject, party: string): Promise<string | null> {
    const { key, mimeType } = object
    if (!publicity.mustBeClean(object)) {
      const stored = await storage.head(key)
      if (stored === null) throw new Problem('storage_unavailable', 'The bytes could not be found. Try again.')
      return moves.publish(object, publicity.home, stored)
    }
    const bytes = await cleaned(object, party)
    const name = `${CLEAN}${key.slice(key.lastIndexOf('.'))}`
    const to = await moves.announce(object, publicity.home, name)
    if (to !== null) await storage.put(to, bytes, { contentType: mimeType, disposition: dispositionOf(mimeType) })
    return to
  }

  /** Gives the stored copy to the object. Null, after removing the copy, when the object may not have it any more. */
  async function keep(object: StoredObject, to: string): Promise<string | null> {
    const { id } = object
    const url = publicity.atCdn({ ...object, publicKey: to })
    const event = url === null ? undefined : { channel: 'photo:updated' as const, fields: { url } }
    const row = await repository.publicCopies.keep(object, to, event)
    if (row === null) {
      await moves.remove(to)
      return null
    }
    await relay.send([row]).catch((error) => log.warn({ err: error }, 'publish: event not sent, it stays owed'))
    if (object.publicKey !== null) await moves.tryToWithdraw(id, row)
    return to
  }

  async function make(object: StoredObject, party: string): Promise<string> {
    const { id } = object
    const to = await store(object, party).catch(async (error) => {
      if (error instanceof Problem && isRefusal(error)) await repository.publicCopies.refuse(id)
      throw error
    })
    const made = to && (await keep(object, to))
    if (made) return made
    const others = await repository.objects.findVisible(id, null)
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
