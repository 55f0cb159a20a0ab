/**
 * Re-keying: copies an object's bytes to another key of the object, into the CDN's home, or away from a key that has an
 * upload link. The row lists the new key as transient before bytes arrive there, and until it is the object's own:
 * leftovers are removed.
 */

import { randomBytes } from 'node:crypto'
import type { Log } from '../../log.ts'
import { Problem } from '../../problem.ts'
import { copyDeadlineMs, type Storage } from '../../storage/storage.ts'
import { dispositionOf, type Home, nameOfOriginal, prefixOf, type StoredObject } from '../object/object.ts'
import { removable, type Transients } from '../object/transients.ts'
import type { Repository } from '../table/repository.ts'
import { REMOVAL_MS } from './remove.ts'

/** An original to copy as this type, and what the store says of its bytes. */
type Original = { id: string; key: string; mimeType: string }
type Stored = { etag: string; size: number }

export interface Rekeying {
  /** Reserves a new key for a public copy that is about to be stored. Null when the object is no longer public. */
  reservePublicCopy(object: StoredObject, home: Home, name: string): Promise<string | null>
  /** Copies the original unchanged to such a key, as the public copy. Null when the object is no longer public. */
  copyAsPublic(object: StoredObject, home: Home, stored: Stored): Promise<string | null>
  /**
   * Copies an object's bytes, if they still have this ETag, to a new key, and returns it. The row keeps the old key
   * until the caller's next statement gives it the new one, which fails when copying took too long.
   * @throws Problem `state_conflict` when the object is purging
   */
  copy(object: Original, home: Home, stored: Stored): Promise<string>
  /** Removes the bytes under transient keys, and then those keys from the row. Returns how many. */
  removeTransients(id: string, transients: Transients): Promise<number>
  /** Like `removeTransients`, but stops waiting after `REMOVAL_MS`; upkeep does the rest. Never fails. */
  tryToRemoveTransients(id: string, transients: Transients): Promise<void>
  /** Removes the bytes under a key that is not the object's, now or by upkeep. Never fails. */
  remove(key: string): Promise<void>
}

type Deps = { repository: Pick<Repository, 'transients'>; storage: Storage; log: Log }

// The time that re-keying has besides the transfer: for the calls around it, and for cleaning a picture.
const REKEY_SECONDS = 300

export function createRekeying(deps: Deps): Rekeying {
  return {
    reservePublicCopy: (object, home, name) => reservePublicCopy(deps, object, home, name),
    copyAsPublic: (object, home, stored) => copyAsPublic(deps, object, home, stored),
    copy: (object, home, stored) => copy(deps, object, home, stored),
    removeTransients: (id, transients) => removeTransients(deps, id, transients),
    tryToRemoveTransients: (id, transients) => tryToRemoveTransients(deps, id, transients),
    remove: (key) => remove(deps, key),
  }
}

async function reservePublicCopy(
  { repository }: Deps,
  object: StoredObject,
  home: Home,
  name: string,
): Promise<string | null> {
  const to = newKey(object.id, home, name)
  return (await repository.transients.reservePublicCopy(object, to, leaseFor(object.sizeBytes))) ? to : null
}

async function copyAsPublic(deps: Deps, object: StoredObject, home: Home, stored: Stored): Promise<string | null> {
  const to = await reservePublicCopy(deps, object, home, nameOfOriginal(object.mimeType))
  return to && copyTo(deps, to, object, stored)
}

async function copy(deps: Deps, object: Original, home: Home, stored: Stored): Promise<string> {
  const to = newKey(object.id, home, nameOfOriginal(object.mimeType))
  if (!(await deps.repository.transients.reserve(object.id, to, leaseFor(stored.size))))
    throw new Problem('state_conflict', 'The object is being removed.')
  return copyTo(deps, to, object, stored)
}

async function copyTo(
  { storage }: Deps,
  to: string,
  { key, mimeType }: Original,
  { etag, size }: Stored,
): Promise<string> {
  const as = { contentType: mimeType, disposition: dispositionOf(mimeType) }
  await storage.copy(key, to, { etag, size, as })
  return to
}

async function removeTransients(
  { repository, storage }: Deps,
  id: string,
  transients: Transients,
  signal?: AbortSignal,
): Promise<number> {
  const keys = removable(transients)
  if (keys.length > 0) await storage.remove(keys, { signal })
  await repository.transients.drop(id, keys, transients.asOf)
  return keys.length
}

async function tryToRemoveTransients(deps: Deps, id: string, transients: Transients): Promise<void> {
  if (Object.keys(transients.transientKeys).length === 0) return
  try {
    await removeTransients(deps, id, transients, AbortSignal.timeout(REMOVAL_MS))
  } catch (error) {
    deps.log.warn({ err: error, id }, 'rekey: bytes left for upkeep to remove')
  }
}

async function remove({ storage, log }: Deps, key: string): Promise<void> {
  try {
    await storage.remove([key], { signal: AbortSignal.timeout(REMOVAL_MS) })
  } catch (error) {
    log.warn({ err: error, key }, 'rekey: old bytes left for upkeep to remove')
  }
}

function newKey(id: string, home: Home, name: string): string {
  return `${prefixOf(id, home)}${randomBytes(6).toString('hex')}/${name}`
}

function leaseFor(size: number): number {
  return REKEY_SECONDS + Math.ceil(copyDeadlineMs(size) / 1000)
}
