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
import { S3Store } from '@tus/s3-store'
import { ERRORS, Upload } from '@tus/server'
import type { S3Config } from '../config.ts'
import { deadline } from '../deadline.ts'
import { Problem } from '../problem.ts'
import { COMPLETE_DEADLINE_MS, MAX_PARTS } from './multipart.ts'
import { createClient, unavailable } from './s3-client.ts'
import { type OpenTusStore, TUS_PART_BYTES, type TusStore, type UploadRecord, type UploadRecords } from './tus.ts'

// Of one request: one part arrives while another is on its way to the store.
const PARTS_AT_ONCE = 2

/** @param maxBytes of one upload */
export function createS3TusStores(config: S3Config, maxBytes: number): OpenTusStore {
  const client = createClient(config)
  const { bucket, region, forcePathStyle, endpoint } = config
  const partSize = Math.max(TUS_PART_BYTES, Math.ceil(maxBytes / MAX_PARTS))
  const options = {
    partSize,
    // The grid: no part but the last is smaller.
    minPartSize: partSize,
    maxConcurrentPartUploads: PARTS_AT_ONCE,
    useTags: false,
  }
  const shared = {
    bucket,
    region,
    forcePathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    credentials: client.config.credentials,
    requestChecksumCalculation: client.config.requestChecksumCalculation,
    responseChecksumValidation: client.config.responseChecksumValidation,
    expectContinueHeader: false,
  }
  return ({ records, signal }) => {
    const { requestHandler } = client.config
    // The store's own calls have no deadline, and no way to be given one.
    const bounded: typeof requestHandler = {
      ...requestHandler,
      handle: (request, handling = {}) =>
        requestHandler.handle(request, { ...handling, abortSignal: deadline(COMPLETE_DEADLINE_MS, signal) }),
      updateHttpClientConfig: (key, value) => requestHandler.updateHttpClientConfig(key, value),
      httpHandlerConfigs: () => requestHandler.httpHandlerConfigs(),
    }
    const store = new GridStore({ ...options, s3ClientConfig: { ...shared, requestHandler: bounded } }, records)
    store.maxUploadSize = maxBytes
    return store
  }
}
