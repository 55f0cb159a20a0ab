/** Assembles the parts of a multipart upload into one object in the store. */

import { notFound, Problem } from '../../problem.ts'
import { COMPLETE_DEADLINE_MS, MAX_PARTS, type MultipartStorage } from '../../storage/multipart.ts'
import type { Storage } from '../../storage/storage.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { MediaRow } from '../object/object.ts'
import type { Repository } from '../table/repository.ts'

/**
 * Assembles the parts of a pending object, if it was uploaded in parts and this was not done yet. A lost answer, or
 * another call that does the same, makes no difference. Throws Problem `upload_incomplete`, `size_mismatch` or
 * `not_found`.
 */
export async function assemble(
  { repository, storage }: { repository: Pick<Repository, 'uploads'>; storage: Storage },
  { id, key, uploadId, sizeBytes }: MediaRow,
): Promise<void> {
  if (uploadId === null || (await storage.head(key)) !== null) return
  const multipart = multipartOf(storage)
  const parts = await multipart.parts(key, uploadId)
  if (parts !== null) {
    const arrived = parts.reduce((sum, { size }) => sum + size, 0)
    const counted = `${sizeBytes} bytes were declared, ${arrived} have arrived.`
    if (arrived < (sizeBytes ?? 0)) throw new Problem('upload_incomplete', counted)
    if (arrived !== sizeBytes || parts.length > MAX_PARTS) throw new Problem('size_mismatch', counted)
    await storage.abortUploads(key, { except: uploadId })
    // Assembling is writing, too, and by now every link may have expired.
    const writing = Math.ceil(COMPLETE_DEADLINE_MS / 1000) + WRITER_GRACE_SECONDS
    if (!(await repository.uploads.extendLinks(id, writing))) throw notFound()
    const outcome = await multipart.complete(key, uploadId, parts)
    if (outcome === 'unfit')
      throw new Problem('upload_incomplete', 'A part has changed meanwhile, or one before the last is below 5 MiB.')
    if (outcome !== 'gone') return
  }
  // Another call may have assembled them just now.
  if ((await storage.head(key)) === null) throw ended()
}

/** The store's port for multipart uploads. Throws Problem `state_conflict` where it has none. */
export function multipartOf({ multipart }: Storage): MultipartStorage {
  if (multipart !== undefined) return multipart
  throw new Problem('state_conflict', 'This store takes no uploads in parts: use presign, or upload.')
}

/** For stores that keep a part whose sender died on the way, unless they can tell by its MD5. */
export function md5Required(): Problem {
  return new Problem('state_conflict', 'This store needs the MD5 of every part: name it, or use presign.')
}

export function ended(): Problem {
  return new Problem('upload_incomplete', 'The store has no such upload any more. Start a new one.')
}
