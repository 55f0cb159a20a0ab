/**
 * Re-keying: copies an object's bytes to another key of the object, into the CDN's home, or away from a key that has an
 * upload link. The row lists the new key as transient before bytes arrive there, and until it is the object's own:
 * leftovers are removed.
 */

import { randomBytes } from 'node:crypto'
import type { Log } from '../../log.ts'
import { Problem } from '../../problem.ts'
import { copyDeadlineMs, type Storage } from '../../storage/storage.ts'
import { dispositionOf, type Home, prefixOf, type StoredObject } from '../object/object.ts'
import { removable, type Transients } from '../object/transients.ts'
import type { Repository } from '../table/repository.ts'
import { REMOVAL_MS } from './remove.ts'

export type Moves = ReturnType<typeof createMoves>

/** An original to copy, and what the store says of its bytes. */
type Original = { id: string; key: string; mimeType: string }
type Stored = { etag: string; size: number }

// The time that re-keying has besides the transfer: for the calls around it, and for cleaning a picture.
const MOVE_SECONDS = 300

export function createMoves({
  repository,
  storage,
  log,
}: {
  repository: Pick<Repository, 'transients'>
  storage: Storage
  log: Log
}) {
  const newKey = (id: string, home: Home, name: string) =>
    `${prefixOf(id, home)}${randomBytes(6).toString('hex')}/${name}`
  const nameOf = ({ key }: { key: string }) => key.slice(key.lastIndexOf('/') + 1)
  const leaseFor = (size: number) => MOVE_SECONDS + Math.ceil(copyDeadlineMs(size) / 1000)

  async function copyTo(to: string, { key, mimeType }: Original, { etag, size }: Stored): Promise<string> {
    const as = { contentType: mimeType, disposition: dispositionOf(mimeType) }
    await storage.copy(key, to, { etag, size, as })
    return to
  }

  /** Removes the bytes under transient keys, and then those keys from the row. Returns how many. */
  async function withdraw(id: string, transients: Transients, signal?: AbortSignal): Promise<number> {
    const keys = removable(transients)
    if (keys.length > 0) await storage.remove(keys, { signal })
    await repository.transients.end(id, keys, transients.asOf)
    return keys.length
  }

  /** Reserves a new key for a public copy that is about to be stored. Null when the object is no longer public. */
  async function announce(object: StoredObject, home: Home, name: string): Promise<string | null> {
    const to = newKey(object.id, home, name)
    return (await repository.transients.reservePublicCopy(object, to, leaseFor(object.sizeBytes))) ? to : null
  }

  return {
    announce,

    /** Copies the original unchanged to such a key, as the public copy. Null when the object is no longer public. */
    async publish(object: StoredObject, home: Home, stored: Stored): Promise<string | null> {
      const to = await announce(object, home, nameOf(object))
      return to && copyTo(to, object, stored)
    },

    /**
     * Copies an object's bytes, if they still have this ETag, to a new key, and returns it. The row keeps the old key
     * until the caller's next statement gives it the new one, which fails when copying took too long. Throws Problem
     * `state_conflict` when the object is purging.
     */
    async copy(object: Original, home: Home, stored: Stored): Promise<string> {
      const to = newKey(object.id, home, nameOf(object))
      if (!(await repository.transients.reserve(object.id, to, leaseFor(stored.size))))
        throw new Problem('state_conflict', 'The object is being removed.')
      return copyTo(to, object, stored)
    },

    withdraw,

    /** Like `withdraw`, but stops waiting after `REMOVAL_MS`; upkeep does the rest. Never fails. */
    async tryToWithdraw(id: string, transients: Transients): Promise<void> {
      if (Object.keys(transients.transientKeys).length === 0) return
      try {
        await withdraw(id, transients, AbortSignal.timeout(REMOVAL_MS))
      } catch (error) {
        log.warn({ err: error, id }, 'move: bytes left for upkeep to remove')
      }
    },

    /** Removes the bytes under a key that is not the object's, now or by upkeep. Never fails. */
    async remove(key: string): Promise<void> {
      try {
        await storage.remove([key], { signal: AbortSignal.timeout(REMOVAL_MS) })
      } catch (error) {
        log.warn({ err: error, key }, 'move: old bytes left for upkeep to remove')
      }
    },
  }
}
