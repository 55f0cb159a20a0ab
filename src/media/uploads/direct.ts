/** Direct uploads: the file comes through the service, in one request. */

import type { Caller } from '../../auth/caller.ts'
import { DATABASE_DEADLINE_MS } from '../../db/connect.ts'
import { Problem } from '../../problem.ts'
import { putDeadlineMs } from '../../storage/storage.ts'
import type { Inspection } from '../bytes/inspect.ts'
import { tryToRemoveBytes } from '../bytes/remove.ts'
import { safeFileName } from '../object/file-name.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { NewObject } from '../object/new-object.ts'
import { type Addressed, type ChangedObject, dispositionOf, type Visibility } from '../object/object.ts'
import { earlierUpload, heldFor, idempotencyOf } from './idempotency.ts'
import { newId, refusal, tooSlow } from './new-object.ts'
import { announced, discard, empty, type Found, type Uploading, uploadedEvent } from './settle.ts'

export type Upload = {
  name: string
  /** The media type that the client declares, if any. */
  type?: string | undefined
  bytes: Uint8Array
  visibility: Visibility
  /** See `NewObject`. */
  holdSeconds?: number | undefined
  idempotencyKey: string | undefined
}

/** See `Uploads.direct`. */
export async function uploadDirectly(deps: Uploading, caller: Caller, upload: Upload): Promise<Addressed> {
  const { now, publicAccess } = deps
  const { autoCompleteSeconds } = deps.limits
  const { name, type, bytes, visibility, holdSeconds } = upload
  if (bytes.length === 0) throw empty()
  const inspection = await deps.inspect(bytes, { declared: type })
  const { userId } = caller
  const idempotency = idempotencyOf(upload.idempotencyKey, 'upload', name, visibility, ...heldFor(holdSeconds), bytes)
  const putSeconds = Math.ceil(putDeadlineMs(bytes.length) / 1000)
  const attemptSeconds = putSeconds + DATABASE_DEADLINE_MS / 1000
  const earlier = () =>
    idempotency && earlierUpload(deps, (row) => discard(deps, row), { userId, idempotency, attemptSeconds })
  const first = await earlier()
  if (first) return publicAccess.addressed(first)

  const object = {
    ...newId(now(), inspection.mimeType),
    userId,
    originalName: safeFileName(name),
    mimeType: inspection.mimeType,
    sizeBytes: bytes.length,
    visibility,
    metadata: inspection.dimensions,
    holdSeconds,
    linksSeconds: putSeconds + WRITER_GRACE_SECONDS,
    // Not while this attempt may still be running.
    completeInSeconds: autoCompleteSeconds === null ? null : attemptSeconds + autoCompleteSeconds,
    idempotency,
  }
  const stored = await store(deps, object, bytes, inspection)
  if (typeof stored !== 'string') return announced(deps, stored)
  const winner = stored === 'taken' ? await earlier() : null
  if (winner) return publicAccess.addressed(winner)
  throw refusal(stored)
}

/** Writes bytes and row in parallel. Returns the active row; or why there is none, with the bytes removed as well. */
async function store(deps: Uploading, object: NewObject, bytes: Uint8Array, { mimeType, dimensions }: Inspection) {
  const { repository, storage } = deps
  const [put, insert] = await Promise.allSettled([
    storage.put(object.key, bytes, { contentType: mimeType, disposition: dispositionOf(mimeType) }),
    repository.uploads.insert(object),
  ])
  if (insert.status === 'fulfilled' && insert.value !== 'inserted') {
    // There is no row, and never will be: only this call knows of these bytes.
    await tryToRemoveBytes(deps, object)
    return insert.value
  }
  try {
    if (put.status === 'rejected') throw put.reason
    if (insert.status === 'rejected') throw insert.reason
    return await activate(deps, object, { mimeType, dimensions, sizeBytes: bytes.length })
  } catch (error) {
    const discarded = discard(deps, object)
    // When the database has just missed its deadline, waiting for it again would only delay the client.
    if (!(error instanceof Problem && error.code === 'database_unavailable')) await discarded
    throw error
  }
}

async function activate(
  { repository, publicAccess }: Uploading,
  object: NewObject,
  found: Found,
): Promise<ChangedObject> {
  const event = uploadedEvent(object, found, publicAccess.urlOf({ ...object, publicKey: null }))
  const { sizeBytes, dimensions } = found
  const row = await repository.uploads.activate(object.id, { sizeBytes, metadata: dimensions, event })
  if (row !== null) return row
  // After a long pause of this process, upkeep may have completed the upload.
  const winner = await repository.arrivals.find(object.id)
  if (winner?.status === 'active') return { ...winner, outbox: [] }
  throw tooSlow()
}
