/** Completion: the bytes of a presigned, multipart or tus upload are there, and become an object or nothing. */

import type { Caller } from '../../auth/caller.ts'
import { INSPECTED_BYTES } from '../../pictures/limits.ts'
import { fileTooLarge, notFound, Problem, type ProblemCode } from '../../problem.ts'
import type { StoredHead } from '../../storage/storage.ts'
import type { Addressed, ChangedObject, MediaRow, UnsettledObject } from '../object/object.ts'
import { assemble } from './assemble.ts'
import { tooSlow } from './new-object.ts'
import { announced, discard, empty, type Found, type Uploading, uploadedEvent } from './settle.ts'

// What bytes look like that another call has refused or moved while they were looked at: then its answer counts.
const LOST = new Set<ProblemCode>(['upload_incomplete', 'state_conflict', 'storage_unavailable'])

/** See `Uploads.complete`. */
export async function complete(deps: Uploading, id: string, caller: Caller): Promise<Addressed> {
  const { repository, publicity } = deps
  const row = await repository.findOwned(id, caller)
  if (row?.status === 'active') return publicity.addressed(row)
  if (row?.status !== 'pending') throw notFound()
  try {
    await assemble(deps, row)
    const activated = await activate(deps, row, await examine(deps, row))
    if (activated !== null) return announced(deps, activated)
  } catch (error) {
    // Only this destroys the bytes that arrived. Anything else may be different the next time.
    if (error instanceof Problem && error.kind === 'refused-bytes') await discard(deps, row)
    const lost = error instanceof Problem && LOST.has(error.code)
    if (!lost || (await repository.findOwned(id, caller))?.status === 'pending') throw error
  }
  const winner = await repository.findOwned(id, caller)
  if (winner?.status === 'active') return publicity.addressed(winner)
  // Still pending: the bytes were moved, but in more time than a move has.
  throw winner?.status === 'pending' ? tooSlow() : notFound()
}

type Examined = Found & Pick<StoredHead, 'etag' | 'ordinaryClass'>

/** What a pending object's stored bytes are, if they are what was declared. */
async function examine({ storage, inspect, limits }: Uploading, row: MediaRow): Promise<Examined> {
  const stored = await storage.peek(row.key, { length: INSPECTED_BYTES })
  if (stored === null) throw new Problem('upload_incomplete', 'No bytes have arrived under the upload link yet.')
  if (stored.size === 0) throw empty()
  if (stored.size > limits.maxObjectBytes) throw fileTooLarge(limits.maxObjectBytes)
  if (row.sizeBytes !== null && stored.size !== row.sizeBytes)
    throw new Problem('size_mismatch', `${row.sizeBytes} bytes were declared, ${stored.size} have arrived.`)
  if (stored.contentEncoding !== null)
    throw new Problem('type_mismatch', `The bytes were sent with Content-Encoding: ${stored.contentEncoding}.`)
  const { etag, ordinaryClass } = stored
  const found = await inspect(stored.bytes)
  if (found.mimeType !== row.mimeType || stored.contentType !== row.mimeType)
    throw new Problem('type_mismatch', `${row.mimeType} was declared, the bytes are ${found.mimeType}.`)
  return { ...found, sizeBytes: stored.size, etag, ordinaryClass }
}

/** The active row, under a further key where somebody could still write under its first one; null when it was moved on. */
async function activate(
  { repository, storage, moves, publicity }: Uploading,
  row: UnsettledObject,
  { etag, ordinaryClass, ...found }: Examined,
): Promise<ChangedObject | null> {
  // Links to parts are dead with their upload: no one can put other bytes there any more.
  const overwritable = !storage.enforces.once && row.uploadId === null
  // A copy is of the class that the service's own are, whatever its uploader has asked for.
  const movedTo =
    overwritable || !ordinaryClass ? await moves.copy(row, 'media/', { etag, size: found.sizeBytes }) : undefined
  const object = { ...row, key: movedTo ?? row.key }
  const event = uploadedEvent(object, found, publicity.urlOf(object))
  const { sizeBytes, dimensions } = found
  const activated = await repository.activate(row.id, { sizeBytes, metadata: dimensions, movedTo, event })
  if (movedTo !== undefined) await moves.remove(activated === null ? movedTo : row.key)
  return activated
}
