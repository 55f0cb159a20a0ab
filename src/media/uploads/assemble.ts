/** Assembles the parts of a multipart upload into one object in the store. */

import { notFound, Problem } from '../../problem.ts'
import { lookAgain } from '../../storage/look-again.ts'
import { COMPLETE_DEADLINE_MS, MAX_PARTS, type MultipartStorage, type StoredPart } from '../../storage/multipart.ts'
import type { Storage } from '../../storage/storage.ts'
import { unavailable } from '../../storage/unavailable.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { MediaRow } from '../object/object.ts'
import type { Repository } from '../table/repository.ts'

/**
 * Assembles the parts of a pending object, if it was uploaded in parts and this was not done yet. A lost answer, or
 * another call that does the same, makes no difference.
 * @throws Problem `upload_incomplete`, `size_mismatch` or `not_found`; or `storage_unavailable` while the store shows
 * neither parts nor object, though it has the upload
 */
export async function assemble(
  deps: { repository: Pick<Repository, 'uploads'>; storage: Storage },
  row: MediaRow,
): Promise<void> {
  const { id, key, uploadId } = row
  if (uploadId === null || (await deps.storage.head(key)) !== null) return
  const found = await settled(deps, { ...row, uploadId })
  // Gone as far as this call can see: another one may be assembling the parts, with live links on the row.
  if (found === 'unknown') throw (await deps.repository.uploads.mayBeWritten(id)) ? betweenStates() : ended()
  if (found === 'stored') return
  if ('complaint' in found) throw found.complaint
  await put(deps, { ...row, uploadId }, found.parts)
}

type Assembling = { repository: Pick<Repository, 'uploads'>; storage: Storage }
type InParts = MediaRow & { uploadId: string }
type Settled = 'stored' | 'unknown' | { parts: StoredPart[] } | { complaint: Problem }

/**
 * The state of the upload. Parts that do not fit count only when two listings in a row agree and there is no object: the
 * store may be taking them away just now.
 */
async function settled({ storage }: Assembling, { key, uploadId, sizeBytes }: InParts): Promise<Settled> {
  const multipart = multipartOf(storage)
  let before: string | undefined
  const seen = await lookAgain(async (): Promise<Settled | undefined> => {
    const parts = await multipart.parts(key, uploadId)
    const complaint = parts === null ? undefined : complaintAbout(parts, sizeBytes)
    if (parts !== null && complaint === undefined) return { parts }
    if ((await storage.head(key)) !== null) return 'stored'
    const listed = JSON.stringify(parts)
    if (complaint !== undefined && listed === before) return { complaint }
    before = listed
    return undefined
  })
  return seen ?? 'unknown'
}

function complaintAbout(parts: readonly StoredPart[], sizeBytes: number | null): Problem | undefined {
  const arrived = parts.reduce((sum, { size }) => sum + size, 0)
  const counted = `${sizeBytes} bytes were declared, ${arrived} have arrived.`
  if (arrived < (sizeBytes ?? 0)) return new Problem('upload_incomplete', counted)
  return arrived !== sizeBytes || parts.length > MAX_PARTS ? new Problem('size_mismatch', counted) : undefined
}

/** Puts listed parts together, and sees the object. */
async function put(
  { repository, storage }: Assembling,
  { id, key, uploadId }: InParts,
  parts: readonly StoredPart[],
): Promise<void> {
  const multipart = multipartOf(storage)
  await storage.abortUploads(key, { except: uploadId })
  // Assembling is writing, too, and by now every link may have expired.
  const writing = Math.ceil(COMPLETE_DEADLINE_MS / 1000) + WRITER_GRACE_SECONDS
  if (!(await repository.uploads.extendLinks(id, writing))) throw notFound()
  const outcome = await multipart.complete(key, uploadId, parts)
  let listings = 0
  const seen = await lookAgain(async () => {
    if ((await storage.head(key)) !== null) return 'stored' as const
    if (outcome !== 'unfit' || (await multipart.parts(key, uploadId)) === null) return undefined
    listings += 1
    return listings > 1 ? ('unfit' as const) : undefined
  })
  if (seen === 'unfit')
    throw new Problem('upload_incomplete', 'A part has changed meanwhile, or one before the last is below 5 MiB.')
  if (seen === undefined) throw betweenStates()
}

/**
 * The store's port for multipart uploads.
 * @throws Problem `state_conflict` where it has none
 */
export function multipartOf({ multipart }: Storage): MultipartStorage {
  if (multipart !== undefined) return multipart
  throw new Problem('state_conflict', 'This store takes no multipart uploads: use presign, or upload.')
}

/** For stores that keep a part whose sender died on the way, unless they can tell by its MD5. */
export function md5Required(): Problem {
  return new Problem('state_conflict', 'This store needs the MD5 of every part: name it, or use presign.')
}

export function ended(): Problem {
  return new Problem('upload_incomplete', 'The store has no such upload any more. Start a new one.')
}

function betweenStates(): Problem {
  return unavailable(new Error('the store shows neither the parts nor the object'))
}
