/** Removes all bytes of an object: quickly for a waiting caller, reliably by upkeep. */

import type { Log } from '../../log.ts'
import type { Cancel } from '../../storage/cancel.ts'
import type { Storage } from '../../storage/storage.ts'
import { prefixesOf } from '../object/object.ts'

type Stored = { id: string; key: string }

/** How long a caller waits for a removal that upkeep does in any case. */
export const REMOVAL_MS = 2000

/** Removes all that the store has of an object now: unfinished multipart uploads, and all bytes. */
export async function removeBytes(storage: Storage, { id, key }: Stored, cancel?: Cancel): Promise<void> {
  await storage.abortUploads(key, cancel)
  for (const prefix of prefixesOf(id)) await storage.removePrefix(prefix, cancel)
}

/** Like `removeBytes`, but stops waiting after `REMOVAL_MS`; upkeep does the rest. Never fails. */
export async function tryToRemoveBytes(
  { storage, log }: { storage: Storage; log: Log },
  object: Stored,
): Promise<void> {
  try {
    await removeBytes(storage, object, { signal: AbortSignal.timeout(REMOVAL_MS) })
  } catch (error) {
    log.warn({ err: error, id: object.id }, 'object: bytes left for upkeep to remove')
  }
}
