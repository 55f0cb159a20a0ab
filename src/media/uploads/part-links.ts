/** Signed links to the parts of a multipart upload. */

import type { Caller } from '../../auth/caller.ts'
import { type ArgumentError, notFound, Problem } from '../../problem.ts'
import type { PartLink } from '../../storage/multipart.ts'
import { uploadLife } from '../bytes/links.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import { md5Required, multipartOf } from './assemble.ts'
import { refuse } from './multipart-uploads.ts'
import { partSizeOf, uppyPartSizeOf } from './part-size.ts'
import type { Uploading } from './settle.ts'

/** `headers` must be sent as they are. */
export type NumberedLink = { partNumber: number } & PartLink

/** `md5` of the part's bytes: 32 hexadecimal digits. */
export type WantedPart = { partNumber: number; md5: string | undefined }

/** `partSize`: the part size that the page gave Uppy, in bytes, if it did. */
export type UppyPart = { partNumber: number; uploadId: string; partSize: number | undefined }

/** `named`: the argument that has the part number. `divide`: the part size for a file of this size. */
type Links = {
  parts: (WantedPart & { named: Pick<ArgumentError, 'argument' | 'index'> })[]
  from: Date
  divide: (size: number) => number
  uploadId?: string
}

/** See `Uploads.linkParts`. */
export async function linkParts(
  deps: Uploading,
  id: string,
  caller: Caller,
  wanted: WantedPart[],
): Promise<{ links: NumberedLink[]; expiresAt: Date }> {
  const from = new Date(deps.now())
  const parts = wanted.map((part, index) => ({ ...part, named: { argument: 'partNumbers', index } }))
  const { links, expiresAt } = await link(deps, id, caller, { parts, from, divide: partSizeOf })
  return { links, expiresAt }
}

/** See `Uploads.linkPart`. */
export async function linkPart(deps: Uploading, id: string, caller: Caller, part: UppyPart): Promise<string> {
  const { partNumber, partSize, uploadId } = part
  const parts = [{ partNumber, md5: undefined, named: { argument: 'partNumber' } }]
  const divide = (size: number) => uppyPartSizeOf(size, partSize)
  const {
    links: [made],
  } = await link(deps, id, caller, { parts, from: new Date(deps.now()), divide, uploadId })
  return made?.url ?? ''
}

/**
 * Signs links to parts. All links of an upload share one part size: otherwise the parts together could exceed the file,
 * up to any size.
 */
async function link(
  deps: Uploading,
  id: string,
  caller: Caller,
  { parts, from, divide, uploadId }: Links,
): Promise<{ links: NumberedLink[]; expiresAt: Date }> {
  const { repository, storage, limits } = deps
  const multipart = multipartOf(storage)
  if (multipart.needsMd5 && parts.some(({ md5 }) => md5 === undefined)) throw md5Required()
  const linksSeconds = limits.uploadUrlSeconds + WRITER_GRACE_SECONDS
  const row = (await repository.multipartUploads.extend(id, caller, linksSeconds)) ?? (await refuse(deps, id, caller))
  if (uploadId !== undefined && row.uploadId !== uploadId) throw notFound()
  const { key, sizeBytes } = row
  // A part size beyond the file's size makes no difference: the one part is the whole file.
  const wanted = Math.min(sizeBytes, divide(sizeBytes))
  const kept =
    row.partSize ??
    (await repository.multipartUploads.keepPartSize(id, wanted))?.partSize ??
    (await refuse(deps, id, caller))
  if (kept !== wanted)
    throw new Problem('state_conflict', `This upload was begun with parts of ${kept} bytes, not of ${wanted}.`)
  const last = Math.ceil(sizeBytes / wanted)
  const beyond = parts.filter(({ partNumber }) => partNumber > last)
  if (beyond.length > 0) {
    const wrong = beyond.map(({ named }) => ({ ...named, message: `expected at most ${last}` }))
    throw new Problem('request_invalid', `The file has ${last} parts of ${wanted} bytes.`, { arguments: wrong })
  }
  const { expiresAt, expiresIn } = await uploadLife(deps, from)
  const links = parts.map(async ({ partNumber, md5 }) => {
    const size = partNumber < last ? wanted : sizeBytes - (last - 1) * wanted
    const part = { partNumber, size, md5, from, expiresIn }
    return { partNumber, ...(await multipart.signPart(key, row.uploadId, part)) }
  })
  return { links: await Promise.all(links), expiresAt }
}
