/** Whether the bytes of a pending upload have arrived, told in the fewest calls: upkeep asks for thousands of rows. */
import type { UploadRecord } from '../../storage/tus.ts'
import type { Deps } from '../deps.ts'
import type { ArrivingRow } from '../table/arrivals.ts'

/**
 * False while bytes are missing. True says that it is worth to complete the upload, which looks more closely. An upload
 * in parts costs one listing as long as its store has it; any other one HEAD.
 */
export async function haveArrived({ storage, tusStores }: Deps<never>, row: ArrivingRow): Promise<boolean> {
  const { key, uploadId, sizeBytes: size, tus } = row
  if (uploadId !== null) {
    const parts = (await storage.multipart?.parts(key, uploadId)) ?? null
    // Without a declared size, nobody but the client knows which part is the last one.
    if (parts !== null) return size !== null && parts.reduce((sum, part) => sum + part.size, 0) >= size
  } else if (tus !== null) {
    const hasAll = await tusStores.hasAll(key, recordOf(row, tus))
    if (hasAll !== null) return hasAll
  }
  return (await storage.head(key)) !== null
}

function recordOf({ sizeBytes, mimeType, createdAt }: ArrivingRow, tus: { uploadId: string | null }): UploadRecord {
  return { size: sizeBytes, contentType: mimeType, createdAt, uploadId: tus.uploadId }
}
