/**
 * tus uploads on S3: `@tus/s3-store` over a multipart upload, with four changes.
 *
 * - What its `KEY.info` object holds is on the row instead: nothing to keep in step, and no copy in the process that
 *   another replica makes stale.
 * - Parts lie on a fixed grid: part n is always the same bytes. The store itself takes what the list of parts adds
 *   up to as the offset, also where a part is missing in the middle (2.0.7), and lets a later part have any length.
 * - What is less than a part waits as `KEY.partN`, N being the part it will be the beginning of, and is removed only
 *   when that part is stored: the store itself removes it first, and loses it with the process.
 * - Parts on their way are in files within a budget. The store itself fills the temporary folder, and leaves in it what
 *   a process that is killed had there.
 */
import { Readable } from 'node:stream'
import { NoSuchKey, type Part, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { type MetadataValue, type Options, S3Store } from '@tus/s3-store'
import { ERRORS, TUS_RESUMABLE, Upload } from '@tus/server'
import { deadline } from '../../deadline.ts'
import { notFound } from '../../problem.ts'
import { timed } from '../../telemetry/record.ts'
import { COMPLETE_DEADLINE_MS, MAX_PARTS } from '../multipart.ts'
import { putDeadlineMs, STORE_DEADLINE_MS } from '../storage.ts'
import type { TemporaryFile, TemporaryFiles } from '../temporary.ts'
import {
  pieceOf,
  reached,
  TUS_PART_BYTES,
  type TusRequest,
  type TusStore,
  type TusStores,
  type UploadRecord,
} from '../tus.ts'
import { createClient } from './client.ts'
import type { S3Settings } from './settings.ts'

/** The size of the parts of uploads of up to so many bytes; a request has up to two of them in the temporary folder. */
export function tusPartSizeOf(maxBytes: number): number {
  return Math.max(TUS_PART_BYTES, Math.ceil(maxBytes / MAX_PARTS))
}

/** @param maxBytes of one upload */
export function createS3TusStores(config: S3Settings, maxBytes: number, temporary: TemporaryFiles): TusStores {
  const client = createClient(config)
  const partSize = tusPartSizeOf(maxBytes)
  const open: TusStores['open'] = (request) => {
    const { region, forcePathStyle, endpoint, bucket } = config
    const s3ClientConfig = {
      bucket,
      region,
      forcePathStyle,
      ...(endpoint === undefined ? {} : { endpoint }),
      credentials: client.config.credentials,
      requestChecksumCalculation: client.config.requestChecksumCalculation,
      responseChecksumValidation: client.config.responseChecksumValidation,
      expectContinueHeader: false,
      requestHandler: bounded(client.config.requestHandler, partSize, request.signal),
    }
    return new GridStore({ partSize, s3ClientConfig }, request, temporary)
  }
  const { contended, limit, usage } = temporary
  return { open, contended, room: () => ({ limit, ...usage() }), close: () => client.destroy() }
}

type Handler = S3Client['config']['requestHandler']

/** The store's own calls have no deadline, and there is no other way to give them one. */
function bounded(handler: Handler, partSize: number, signal: AbortSignal): Handler {
  const handle: Handler['handle'] = (request, options) => {
    const { method } = request
    const ms = method === 'PUT' ? putDeadlineMs(partSize) : method === 'POST' ? COMPLETE_DEADLINE_MS : STORE_DEADLINE_MS
    return timed('store', () => handler.handle(request, { ...options, abortSignal: deadline(ms, signal) }))
  }
  return new Proxy(handler, { get: (target, name) => (name === 'handle' ? handle : Reflect.get(target, name)) })
}

class GridStore extends S3Store implements TusStore {
  private readonly request: TusRequest
  private readonly temporary: TemporaryFiles
  /** What the row says; read anew by `getUpload`, under whose lock everything else is done. */
  private known: MetadataValue | undefined
  /** The number of the part that comes next, or is begun. */
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
      // Here and not in getMetadata: what that throws, the store takes for an upload that is not there.
      const { uploadId, size, createdAt } = await this.load(id)
      if (uploadId === null) throw ERRORS.FILE_NOT_FOUND
      this.know(id, uploadId, size ?? undefined, createdAt.toISOString())
      return super.getUpload(id)
    })
  }

  /** From `offset` on; the bytes of the same part that came before are fetched and sent with them. */
  override write(source: Readable, id: string, offset: number): Promise<number> {
    return reached(async () => {
      const { file, 'upload-id': uploadId } = await this.getMetadata(id)
      const upload = { id, uploadId, size: file.size ?? Number.POSITIVE_INFINITY }
      const first = Math.floor(offset / this.preferredPartSize) + 1
      const before = offset % this.preferredPartSize
      const bytes = inPieces(this.from(upload, first, before, source))
      const end = await this.sendParts(upload, first, offset - before, bytes).finally(bytes.close)
      if (end === upload.size) await this.finish(id)
      // Its bytes are part of a part now.
      const isStored = end === upload.size || end >= first * this.preferredPartSize
      if (before > 0 && isStored) await this.client.deleteObject({ Bucket: this.bucket, Key: pieceOf(id, first) })
      return end
    })
  }

  private async *from({ id }: Arriving, number: number, before: number, source: Readable): AsyncGenerator<Uint8Array> {
    if (before > 0) yield* await this.pieceOf(id, number, before)
    yield* source
  }

  /** One part arrives while another is on its way to the store. Gives the place up to which all is stored. */
  private async sendParts(upload: Arriving, first: number, start: number, bytes: Pieces): Promise<number> {
    let at = start
    let sending: Promise<void> = Promise.resolve()
    try {
      for (let number = first; ; number += 1) {
        const most = Math.min(this.preferredPartSize, upload.size - at)
        // What has all its bytes needs no room for more, only to hear that there are none.
        const file = most > 0 ? await this.fill(most, bytes) : await bytes.next(1).then(() => undefined)
        await sending
        if (file === undefined) return at
        at += file.size
        const isWhole = file.size === this.preferredPartSize || at === upload.size
        sending = this.sendFile(upload, number, file, isWhole).finally(() => file.close())
        // It is waited for before the next, or below.
        sending.catch(() => {})
      }
    } catch (error) {
      await sending.catch(() => {})
      throw error
    }
  }

  /** As much as comes, up to `most`; undefined where nothing comes any more. */
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
    const sent = { Bucket: this.bucket, Body: file.read(), ContentLength: file.size }
    if (isWhole) await this.client.uploadPart({ ...sent, Key: id, UploadId: uploadId, PartNumber: number })
    else await this.client.putObject({ ...sent, Key: pieceOf(id, number) })
  }

  /** The beginning of a part, of which at least so many bytes have come. */
  private async pieceOf(id: string, number: number, length: number): Promise<Readable> {
    const wanted = { Bucket: this.bucket, Key: pieceOf(id, number), Range: `bytes=0-${length - 1}` }
    const { Body, ContentLength } = await this.client.getObject(wanted).catch((error) => {
      // Another writer has made a part of it.
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
        throw error instanceof S3ServiceException && error.name === 'NoSuchUpload' ? notFound() : error
      }
    })
  }

  private async finish(id: string): Promise<void> {
    const metadata = await this.getMetadata(id)
    const parts = await this.retrieveParts(id)
    const arrived = parts.reduce((sum, { Size = 0 }) => sum + Size, 0)
    // Another writer, which has lost the upload since, has left a part out.
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

  /** Those up to the first that is missing. */
  protected override async retrieveParts(id: string, marker?: string): Promise<Part[]> {
    const parts = await super.retrieveParts(id, marker)
    // The store calls this for each page, and with no marker for the whole.
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

/** In pieces of at most the length that is asked for; undefined at the end. */
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
