/**
 * An upload of tus on S3: `@tus/s3-store` (2.0.7) on a multipart upload, with four changes.
 *
 * - The contents of its `KEY.info` object are on the row instead: nothing to keep in sync, and no cached copy in the
 *   process that another replica makes stale.
 * - Parts lie on a fixed grid: part n always holds the same bytes. The library takes the sum of the listed parts as the
 *   offset, even if a part in the middle is missing, and allows later parts of any length.
 * - Bytes that do not fill a part wait as `KEY.partN`, N being the part that they will begin, and are removed only
 *   after that part is stored. The library removes them first, and loses them if the process dies.
 * - Parts in transit are in files within a budget. The library fills the temporary folder, and a killed process leaves
 *   its files there.
 */
import { Readable } from 'node:stream'
import { NoSuchKey, NotFound, type Part, S3ServiceException } from '@aws-sdk/client-s3'
import { type MetadataValue, type Options, S3Store } from '@tus/s3-store'
import { ERRORS, TUS_RESUMABLE, Upload } from '@tus/server'
import { notFound } from '../../problem.ts'
import { lookAgain } from '../look-again.ts'
import type { TemporaryFile, TemporaryFiles } from '../temporary.ts'
import { pieceOf, reached, type TusRequest, type TusStore, type UploadRecord } from '../tus.ts'

export class GridStore extends S3Store implements TusStore {
  private readonly request: TusRequest
  private readonly temporary: TemporaryFiles
  /** The row's contents, reloaded by `getUpload`; everything after it runs under the same lock. */
  private known: MetadataValue | undefined
  /** The number of the next part, or of the one that has begun. */
  private cell = 1

  constructor(
    options: Pick<Options, 's3ClientConfig'> & { partSize: number },
    request: TusRequest,
    temporary: TemporaryFiles,
  ) {
    super({ ...options, useTags: false })
    this.request = request
    this.temporary = temporary
  }

  override create(upload: Upload): Promise<Upload> {
    return reached(async () => {
      const { contentType } = await this.load(upload.id)
      return super.create(Object.assign(upload, { metadata: { contentType } }))
    })
  }

  override getUpload(id: string): Promise<Upload> {
    return reached(async () => {
      // Here and not in `getMetadata`, whose errors the library treats as a missing upload.
      const { uploadId, size, createdAt } = await this.load(id)
      if (uploadId === null) throw ERRORS.FILE_NOT_FOUND
      this.know(id, uploadId, size ?? undefined, createdAt.toISOString())
      return super.getUpload(id)
    })
  }

  /** Writes from `offset` on; earlier bytes of the same part are fetched and sent again with the new ones. */
  override write(source: Readable, id: string, offset: number): Promise<number> {
    return reached(async () => {
      const { file, 'upload-id': uploadId } = await this.getMetadata(id)
      const upload = { id, uploadId, size: file.size ?? Number.POSITIVE_INFINITY }
      const first = Math.floor(offset / this.preferredPartSize) + 1
      const before = offset % this.preferredPartSize
      const bytes = inPieces(this.from(upload, first, before, source))
      const end = await this.sendParts(upload, first, offset - before, bytes).finally(bytes.close)
      if (end === upload.size) await this.finish(id)
      // Remove the piece only if its bytes are in a stored part now.
      const isStored = end === upload.size || end >= first * this.preferredPartSize
      if (before > 0 && isStored) await this.client.deleteObject({ Bucket: this.bucket, Key: pieceOf(id, first) })
      return end
    })
  }

  private async *from({ id }: Arriving, number: number, before: number, source: Readable): AsyncGenerator<Uint8Array> {
    if (before > 0) yield* await this.pieceOf(id, number, before)
    yield* source
  }

  /** Receives one part while another is sent to the store. Returns the offset up to which all bytes are stored. */
  private async sendParts(upload: Arriving, first: number, start: number, bytes: Pieces): Promise<number> {
    let at = start
    let sending: Promise<void> = Promise.resolve()
    try {
      for (let number = first; ; number += 1) {
        const most = Math.min(this.preferredPartSize, upload.size - at)
        // A complete upload reserves no more room, but still reads to the end of the body.
        const file = most > 0 ? await this.fill(most, bytes) : await bytes.next(1).then(() => undefined)
        await sending
        if (file === undefined) return at
        at += file.size
        const isWhole = file.size === this.preferredPartSize || at === upload.size
        sending = this.sendFile(upload, number, file, isWhole).finally(() => file.close())
        // Awaited before the next part is sent, or below.
        sending.catch(() => {})
      }
    } catch (error) {
      await sending.catch(() => {})
      throw error
    }
  }

  /** Reads up to `most` bytes into a temporary file; undefined at the end of the body. */
  private async fill(most: number, bytes: Pieces): Promise<TemporaryFile | undefined> {
    const { caller, signal } = this.request
    const file = await this.temporary.create(caller, most, signal)
    try {
      while (file.size < most) {
        const next = await bytes.next(most - file.size)
        if (next === undefined) break
        await file.append(next)
      }
    } catch (error) {
      await file.close()
      throw error
    }
    if (file.size > 0) return file
    await file.close()
    return undefined
  }

  private async sendFile({ id, uploadId }: Arriving, number: number, file: TemporaryFile, isWhole: boolean) {
    const sent = { Bucket: this.bucket, Body: file.read(), ContentLength: file.size, ContentMD5: file.md5 }
    if (isWhole) await this.client.uploadPart({ ...sent, Key: id, UploadId: uploadId, PartNumber: number })
    else await this.client.putObject({ ...sent, Key: pieceOf(id, number) })
  }

  /** The stored beginning of a part: its first `length` bytes. */
  private async pieceOf(id: string, number: number, length: number): Promise<Readable> {
    const wanted = { Bucket: this.bucket, Key: pieceOf(id, number), Range: `bytes=0-${length - 1}` }
    const { Body, ContentLength } = await this.client.getObject(wanted).catch((error) => {
      // Another writer has completed the part.
      throw error instanceof NoSuchKey ? ERRORS.INVALID_OFFSET : error
    })
    if (!(Body instanceof Readable)) throw new Error(`${wanted.Key} has no bytes to read`)
    if (ContentLength === length) return Body
    Body.destroy()
    throw ERRORS.INVALID_OFFSET
  }

  override async declareUploadLength(id: string, size: number): Promise<void> {
    if (!(await this.request.records.declareSize(id, size))) throw ERRORS.INVALID_LENGTH
    const { file, 'upload-id': uploadId } = await this.getMetadata(id)
    this.know(id, uploadId, size, file.creation_date)
  }

  async assemble(id: string): Promise<void> {
    await reached(async () => {
      await this.getUpload(id)
      try {
        await this.finish(id)
      } catch (error) {
        if (!(error instanceof S3ServiceException) || error.name !== 'NoSuchUpload') throw error
        // Another writer, which has lost the lease since, may be assembling the parts.
        if ((await lookAgain(() => this.isStored(id))) === undefined) throw notFound()
      }
    })
  }

  private async isStored(id: string): Promise<true | undefined> {
    try {
      await this.client.headObject({ Bucket: this.bucket, Key: id })
      return true
    } catch (error) {
      if (error instanceof NotFound) return undefined
      throw error
    }
  }

  private async finish(id: string): Promise<void> {
    const metadata = await this.getMetadata(id)
    const parts = await this.retrieveParts(id)
    const arrived = parts.reduce((sum, { Size = 0 }) => sum + Size, 0)
    // Another writer, which has lost the lease since, has skipped a part.
    if (arrived !== metadata.file.size) throw ERRORS.INVALID_OFFSET
    await this.finishMultipartUpload(metadata, parts)
  }

  protected override async saveMetadata(upload: Upload, uploadId: string): Promise<void> {
    if (!(await this.request.records.keepUploadId(upload.id, uploadId))) throw notFound()
    this.know(upload.id, uploadId, upload.size, upload.creation_date)
  }

  protected override async getMetadata(_id: string): Promise<MetadataValue> {
    if (this.known === undefined) throw new Error('an upload is read before it is written')
    return this.known
  }

  /** The stored parts up to the first missing one. */
  protected override async retrieveParts(id: string, marker?: string): Promise<Part[]> {
    const parts = await super.retrieveParts(id, marker)
    // The library calls this recursively for each page; only the first call has no marker.
    if (marker !== undefined) return parts
    const gap = parts.findIndex(({ PartNumber }, index) => PartNumber !== index + 1)
    const inOrder = gap === -1 ? parts : parts.slice(0, gap)
    this.cell = inOrder.length + 1
    return inOrder
  }

  protected override partKey(id: string, isIncomplete = false): string {
    return isIncomplete ? pieceOf(id, this.cell) : id
  }

  private async load(id: string): Promise<UploadRecord> {
    const record = await this.request.records.load(id)
    if (record === null) throw notFound()
    return record
  }

  private know(id: string, uploadId: string, size: number | undefined, creation_date: string | undefined): void {
    const file = new Upload({
      id,
      offset: 0,
      ...(size !== undefined && { size }),
      ...(creation_date !== undefined && { creation_date }),
    })
    this.known = { file, 'upload-id': uploadId, 'tus-version': TUS_RESUMABLE }
  }
}

type Arriving = { id: string; uploadId: string; size: number }

/** A body in pieces of at most the requested length; `next` returns undefined at the end. */
type Pieces = { next(most: number): Promise<Uint8Array | undefined>; close(): Promise<void> }

function inPieces(chunks: AsyncGenerator<Uint8Array>): Pieces {
  let rest: Uint8Array = new Uint8Array()
  return {
    async next(most) {
      while (rest.length === 0) {
        const { done, value } = await chunks.next()
        if (done) return undefined
        rest = value
      }
      const taken = rest.subarray(0, most)
      rest = rest.subarray(taken.length)
      return taken
    },
    async close() {
      await chunks.return(undefined)
    },
  }
}
