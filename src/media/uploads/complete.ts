/** Completes presigned, multipart and tus uploads: inspects the stored bytes, then activates or discards the object. */

import type { Caller } from '../../auth/caller.ts'
import { INSPECTED_BYTES } from '../../pictures/limits.ts'
import type { Rest } from '../../pictures/reading.ts'
import { fileTooLarge, notFound, Problem, type ProblemCode } from '../../problem.ts'
import type { StoredHead } from '../../storage/storage.ts'
import { mayTurnOut } from '../object/media-type.ts'
import type { Addressed, ChangedObject, MediaRow, UnsettledObject } from '../object/object.ts'
import type { ArrivingRow } from '../table/arrivals.ts'
import { haveArrived } from './arrived.ts'
import { assemble } from './assemble.ts'
import { assembleTus } from './assemble-tus.ts'
import { tooSlow } from './new-object.ts'
import { announced, discard, empty, type Found, type Uploading, uploadedEvent } from './settle.ts'

// Errors that inspection also meets when another call has refused or re-keyed the bytes meanwhile: then that call's
// answer counts.
const LOST = new Set<ProblemCode>(['upload_incomplete', 'state_conflict', 'storage_unavailable'])
// Another request is writing, or the store has lost the upload, whose client then has to start again.
const NOT_WHOLE = new Set<ProblemCode>(['upload_locked', 'not_found'])

/** See `Uploads.complete`. */
export async function complete(deps: Uploading, id: string, caller: Caller): Promise<Addressed> {
  const find = () => deps.repository.objects.findOwned(id, caller)
  const row = await find()
  if (row?.status === 'active') return deps.publicAccess.addressed(row)
  if (row?.status !== 'pending') throw notFound()
  return completeRow(deps, row, find)
}

/** See `Uploads.completeArrived`. */
export async function completeArrived(deps: Uploading, row: ArrivingRow): Promise<'completed' | 'incomplete'> {
  if (!(await haveArrived(deps, row))) return 'incomplete'
  try {
    await completeRow(deps, row, () => deps.repository.arrivals.find(row.id))
    return 'completed'
  } catch (error) {
    // The store was between two states, or another request is writing.
    if (error instanceof Problem && error.code === 'upload_incomplete') return 'incomplete'
    throw error
  }
}

/** @param find reads the row again, to see what another call has made of it */
async function completeRow(
  deps: Uploading,
  row: UnsettledObject,
  find: () => Promise<MediaRow | null>,
): Promise<Addressed> {
  try {
    await assemble(deps, row)
    const activated = await activate(deps, row, await examine(deps, row))
    if (activated !== null) return announced(deps, activated)
  } catch (error) {
    // Only this destroys the bytes that arrived. Any other failure may not happen the next time.
    if (error instanceof Problem && error.kind === 'refused-bytes') await discard(deps, row)
    const lost = error instanceof Problem && LOST.has(error.code)
    if (!lost || (await find())?.status === 'pending') throw error
  }
  const winner = await find()
  if (winner?.status === 'active') return deps.publicAccess.addressed(winner)
  // Still pending: the bytes were re-keyed, but it took too long.
  throw winner?.status === 'pending' ? tooSlow() : notFound()
}

type Examined = Found & Pick<StoredHead, 'etag' | 'ordinaryClass' | 'contentType'>

/** Inspects the stored bytes of a pending object, and checks them against its declaration. */
async function examine(deps: Uploading, row: MediaRow): Promise<Examined> {
  const { storage, inspect, limits } = deps
  const stored = await peek(deps, row)
  if (stored === null) throw new Problem('upload_incomplete', 'No bytes have arrived under the upload link yet.')
  if (stored.size === 0) throw empty()
  if (stored.size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
  if (row.sizeBytes !== null && stored.size !== row.sizeBytes)
    throw new Problem('size_mismatch', `${row.sizeBytes} bytes were declared, ${stored.size} have arrived.`)
  if (stored.contentEncoding !== null)
    throw new Problem('type_mismatch', `The bytes were sent with Content-Encoding: ${stored.contentEncoding}.`)
  const { etag, ordinaryClass, contentType } = stored
  // Ranges of bytes that a link overwrites meanwhile could only say a wrong size of a picture that is then refused.
  const rest: Rest = { sizeBytes: stored.size, read: (range) => storage.read(row.key, range) }
  const found = await inspect(stored.bytes, { declared: row.mimeType, rest })
  if (!mayTurnOut(row.mimeType, found.mimeType))
    throw new Problem('type_mismatch', `${row.mimeType} was declared, the bytes are ${found.mimeType}.`)
  return { ...found, sizeBytes: stored.size, etag, ordinaryClass, contentType }
}

/** The beginning of the stored bytes; those of a tus upload may all be there, and not be assembled yet. */
async function peek(deps: Uploading, { key }: MediaRow) {
  const { storage, repository } = deps
  const stored = await storage.peek(key, { length: INSPECTED_BYTES })
  if (stored !== null || (await repository.tusUploads.record(key)) === null) return stored
  await assembleTus(deps, key, { ask: false }).catch((error) => {
    const waits = error instanceof Problem && NOT_WHOLE.has(error.code)
    throw waits ? new Problem('upload_incomplete', 'Not all bytes of the upload have arrived yet.') : error
  })
  return storage.peek(key, { length: INSPECTED_BYTES })
}

/**
 * Activates the row, after re-keying the bytes if a link could still overwrite them. Null when the row has changed its
 * state, or re-keying took too long.
 */
async function activate(
  { repository, storage, rekeying, publicAccess }: Uploading,
  row: UnsettledObject,
  { etag, ordinaryClass, contentType, ...found }: Examined,
): Promise<ChangedObject | null> {
  // Links to parts end with their multipart upload: nobody can overwrite these bytes any more.
  const overwritable = !storage.enforces.once && row.uploadId === null
  const { mimeType, sizeBytes, dimensions } = found
  // A copy gets the service's own storage class, whatever class its uploader has asked for, and the type of the bytes,
  // under which the store serves them.
  const copied = overwritable || !ordinaryClass || contentType !== mimeType || row.mimeType !== mimeType
  const rekeyedTo = copied ? await rekeying.copy({ ...row, mimeType }, 'media/', { etag, size: sizeBytes }) : undefined
  const object = { ...row, key: rekeyedTo ?? row.key }
  const event = uploadedEvent(object, found, publicAccess.urlOf(object))
  const rekeyed = rekeyedTo === undefined ? undefined : { key: rekeyedTo, mimeType }
  const activated = await repository.uploads.activate(row.id, { sizeBytes, metadata: dimensions, rekeyed, event })
  if (rekeyedTo !== undefined) await rekeying.remove(activated === null ? rekeyedTo : row.key)
  return activated
}
