/** tus uploads on S3: the stores that hold them, with the library's calls under deadlines and one size of parts. */
import type { S3Client } from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { timed } from '../../telemetry/record.ts'
import { COMPLETE_DEADLINE_MS, MAX_PARTS } from '../multipart.ts'
import { putDeadlineMs, STORE_DEADLINE_MS } from '../storage.ts'
import type { TemporaryFiles } from '../temporary.ts'
import { TUS_PART_BYTES, type TusStores } from '../tus.ts'
import { createClient } from './client.ts'
import { GridStore } from './grid-store.ts'
import { createListParts } from './multipart.ts'
import type { S3Settings } from './settings.ts'

/** The part size for uploads of up to `maxBytes`; a request holds up to two parts in the temporary folder. */
export function tusPartSizeOf(maxBytes: number): number {
  return Math.max(TUS_PART_BYTES, Math.ceil(maxBytes / MAX_PARTS))
}

/** @param maxBytes largest upload */
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
  const listParts = createListParts({ client, bucket: config.bucket })
  const hasAll: TusStores['hasAll'] = async (key, { size, uploadId }, cancel) => {
    if (size === null || uploadId === null) return false
    const parts = await listParts(key, uploadId, cancel)
    return parts && parts.reduce((sum, part) => sum + part.size, 0) === size
  }
  const { contended, limit, usage } = temporary
  return {
    available: true,
    open,
    hasAll,
    contended,
    room: () => ({ limit, ...usage() }),
    close: () => client.destroy(),
  }
}

type Handler = S3Client['config']['requestHandler']

/** Gives the library's calls a deadline; it has no option for that. */
function bounded(handler: Handler, partSize: number, signal: AbortSignal): Handler {
  const handle: Handler['handle'] = (request, options) => {
    const { method } = request
    const ms = method === 'PUT' ? putDeadlineMs(partSize) : method === 'POST' ? COMPLETE_DEADLINE_MS : STORE_DEADLINE_MS
    return timed('store', () => handler.handle(request, { ...options, abortSignal: deadline(ms, signal) }))
  }
  return new Proxy(handler, { get: (target, name) => (name === 'handle' ? handle : Reflect.get(target, name)) })
}
