/** Ends an upload: announces the object, or discards it. */

import { Problem } from '../../problem.ts'
import type { Inspection } from '../bytes/inspect.ts'
import type { Rekeying } from '../bytes/rekey.ts'
import { tryToRemoveBytes } from '../bytes/remove.ts'
import type { Deps } from '../deps.ts'
import type { Addressed, ChangedObject, StoredObject } from '../object/object.ts'

/** Dependencies of the upload use cases. */
export type Uploading = Deps<'uploads' | 'multipartUploads' | 'tusUploads' | 'arrivals' | 'objects'> & {
  rekeying: Rekeying
}

/** What inspection found in an upload's bytes. */
export type Found = Inspection & { sizeBytes: number }

/** Sends the row's events in the background, and returns the object with its URL. */
export function announced({ relay, publicAccess }: Uploading, row: ChangedObject): Addressed {
  relay.announce(row)
  return publicAccess.addressed(row)
}

/**
 * Moves a pending object to purging, unless another call has just changed its state, and removes its bytes. Never
 * fails.
 */
export async function discard(deps: Uploading, object: { id: string; key: string }): Promise<void> {
  const { id } = object
  try {
    if (await deps.repository.uploads.abandon(id)) await tryToRemoveBytes(deps, object)
  } catch (error) {
    deps.log.warn({ err: error, id }, 'object: left for upkeep to give up')
  }
}

/** The event of an object that becomes active. */
export function uploadedEvent(
  { key, originalName }: Pick<StoredObject, 'key' | 'originalName'>,
  { mimeType, dimensions, sizeBytes }: Found,
  url: string,
) {
  const fields = { url, key, mimeType, sizeBytes, ...dimensions, originalName }
  return { channel: 'photo:uploaded' as const, fields }
}

export function empty(): Problem {
  return new Problem('file_empty', 'The file has no bytes.')
}
