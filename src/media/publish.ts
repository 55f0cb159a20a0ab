/** Makes what others than its owner get of a public object. */
import pLimit from 'p-limit'
import type { Log } from '../log.ts'
import { notFound, Problem } from '../problem.ts'
import type { Storage } from '../storage/storage.ts'
import { type Clean, checkSize, unreadable } from './clean.ts'
import { createMoves } from './moves.ts'
import { dispositionOf, type StoredObject } from './object.ts'
import { CLEAN, type Publicity } from './publicity.ts'
import type { Relay } from './relay.ts'
import type { Repository } from './repository.ts'

/**
 * The key of the copy, made now. Throws Problem `not_found` when the object is not public any more, `image_too_large`
 * or `image_unreadable` when it is a picture that has to stay with its owner, or `overloaded`.
 */
export type Publish = (object: StoredObject) => Promise<string>

type Deps = {
  repository: Repository
  storage: Storage
  relay: Relay
  clean: Clean
  publicity: Publicity
  log: Log
}

// One picture at a time, for the memory it takes: its bytes, its pixels, and its new bytes.
const CONCURRENCY = 1
// How long a picture waits for its turn.
const PATIENCE_MS = 20_000

export function createPublish({ repository, storage, relay, clean, publicity, log }: Deps): Publish {
  const moves = createMoves({ repository, storage, log })
  const places = pLimit(CONCURRENCY)
  /** What comes while one is made waits for that one. */
  const making = new Map<string, Promise<string>>()

  async function cleaned({ id, key, mimeType, sizeBytes }: StoredObject): Promise<Uint8Array> {
    const until = performance.now() + PATIENCE_MS
    return places(async () => {
      if (performance.now() > until) throw new Problem('overloaded', 'Too many pictures are being made. Try again.')
      const bytes = await storage.read(key, { start: 0, length: sizeBytes })
      return clean(bytes, mimeType).catch(async (error) => {
        if (isProblem(error, 503)) await repository.countPublicationFailure(id)
        throw error
      })
    })
  }

  /** The key is one that was never used before, and lies where the object's row has it looked after. */
  async function store(object: StoredObject): Promise<string> {
    const { id, key, mimeType } = object
    if (!publicity.mustBeClean(object)) {
      const stored = await storage.head(key)
      if (stored === null) throw new Problem('storage_unavailable', 'The bytes could not be found. Try again.')
      return moves.copy(object, publicity.home, stored.etag)
    }
    checkSize(object)
    if (object.unpublishable) unreadable()
    const bytes = await cleaned(object)
    const name = `${CLEAN}${key.slice(key.lastIndexOf('.'))}`
    const to = await moves.announce(id, publicity.home, name)
    await storage.put(to, bytes, { contentType: mimeType, disposition: dispositionOf(mimeType) })
    return to
  }

  async function make(object: StoredObject): Promise<string> {
    const { id, publicKey } = object
    const to = await store(object).catch(async (error) => {
      if (isProblem(error, 422)) await repository.refusePublication(id)
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

  return async function publish(object) {
    const { id } = object
    const underWay = making.get(id)
    if (underWay !== undefined) return underWay
    const made = make(object).finally(() => making.delete(id))
    making.set(id, made)
    return made
  }
}

function isProblem(error: unknown, status: number): boolean {
  return error instanceof Problem && error.status === status
}
