/**
 * tus uploads on S3: `@tus/s3-store` over a multipart upload, with three changes.
 *
 * - What its `KEY.info` object holds is on the row instead: nothing to keep in step, and no copy in the process that
 *   another replica makes stale.
 * - Parts lie on a fixed grid: part n is always the same bytes. The store itself takes what the list of parts adds
 *   up to as the offset, also where a part is missing in the middle (2.0.7), and lets a later part have any length.
 * - What is less than a part waits as `KEY.partN`, N being the part it will be the beginning of, and is removed only
 *   when that part is stored: the store itself removes it first, and loses it with the process.
 */
import type { Readable } from 'node:stream'
import { type Part, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { type MetadataValue, type Options, S3Store } from '@tus/s3-store'
import { ERRORS, TUS_RESUMABLE, Upload } from '@tus/server'
import type { S3Config } from '../config.ts'
import { deadline } from '../deadline.ts'
import { timed } from '../observe/record.ts'
import { notFound, Problem } from '../problem.ts'
import { COMPLETE_DEADLINE_MS, MAX_PARTS } from './multipart.ts'
import { createClient, unavailable } from './s3-client.ts'
import { putDeadlineMs, STORE_DEADLINE_MS } from './storage.ts'
import { TUS_PART_BYTES, type TusStore, type TusStores, type UploadRecord, type UploadRecords } from './tus.ts'

// Of one request: one part arrives while another is on its way to the store.
const PARTS_AT_ONCE = 2

/** @param maxBytes of one upload */
export function createS3TusStores(config: S3Config, maxBytes: number): TusStores {
  const client = createClient(config)
  const partSize = Math.max(TUS_PART_BYTES, Math.ceil(maxBytes / MAX_PARTS))
  const open: TusStores['open'] = ({ records, signal }) => {
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
      requestHandler: bounded(client.config.requestHandler, partSize, signal),
    }
    return new GridStore({ partSize, s3ClientConfig }, records)
  }
  return { open, close: () => client.destroy() }
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
  private readonly records: UploadRecords
  /** What the row says; read anew by `getUpload`, under whose lock everything else is done. */
  private known: MetadataValue | undefined
  /** The number of the part that comes next, or is begun. */
  private cell = 1
  private begun: string | undefined

  constructor(options: Pick<Options, 's3ClientConfig'> & { partSize: number }, records: UploadRecords) {
    // No part but the last is smaller than the others: that is the grid.
    super({ ...options, minPartSize: options.partSize, maxConcurrentPartUploads: PARTS_AT_ONCE, useTags: false })
    this.records = records
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

  override write(source: Readable, id: string, offset: number): Promise<number> {
    return reached(async () => {
      const newOffset = await super.write(source, id, offset)
      // Its bytes are part of a part now.
      if (this.begun !== undefined && this.begun !== this.partKey(id, true)) await this.removePiece(this.begun)
      return newOffset
    })
  }

  override async declareUploadLength(id: string, size: number): Promise<void> {
    if (!(await this.records.declareSize(id, size))) throw ERRORS.INVALID_LENGTH
    const { file, 'upload-id': uploadId } = await this.getMetadata(id)
    this.know(id, uploadId, size, file.creation_date)
  }

  async assemble(id: string): Promise<void> {
    await reached(async () => {
      await this.getUpload(id)
      try {
        await this.finishMultipartUpload(await this.getMetadata(id), await this.retrieveParts(id))
      } catch (error) {
        throw error instanceof S3ServiceException && error.name === 'NoSuchUpload' ? notFound() : error
      }
    })
  }

  protected override async saveMetadata(upload: Upload, uploadId: string): Promise<void> {
    if (!(await this.records.keepUploadId(upload.id, uploadId))) throw notFound()
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

  protected override uploadPart(...args: Parameters<S3Store['uploadPart']>): ReturnType<S3Store['uploadPart']> {
    // Parts are begun in order, so what is left over in the end belongs to the one after the last.
    this.cell = args[2] + 1
    return super.uploadPart(...args)
  }

  protected override partKey(id: string, isIncomplete = false): string {
    return isIncomplete ? `${id}.part${this.cell}` : id
  }

  /** The store calls this before the bytes are anywhere else. */
  protected override async deleteIncompletePart(id: string): Promise<void> {
    this.begun = this.partKey(id, true)
  }

  protected override calcOptimalPartSize(): number {
    return this.preferredPartSize
  }

  private async removePiece(key: string): Promise<void> {
    await this.client.deleteObject({ Bucket: this.bucket, Key: key })
  }

  private async load(id: string): Promise<UploadRecord> {
    const record = await this.records.load(id)
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

/** Problems and tus' own errors as they are; whatever else the store throws is an outage. */
async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof Problem || (typeof error === 'object' && error !== null && 'status_code' in error)) throw error
    throw unavailable(error)
  }
}
