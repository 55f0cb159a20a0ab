/** Configures Uppy: uploads go straight to an S3 store, otherwise through the service by tus. */

import { problemOf } from '@media-service/client/http'
import AwsS3 from '@uppy/aws-s3'
import Uppy, { type Body, type Meta, type UppyFile } from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import DropTarget from '@uppy/drop-target'
import Tus from '@uppy/tus'
import Webcam from '@uppy/webcam'
import { type Api, MediaError, type MediaItem } from './api.ts'
import type { ConsoleSession } from './session.ts'

type FileMeta = Meta & { visibility?: MediaItem['visibility']; mediaId?: string }
export type Uploader = Uppy<FileMeta, Body>
type File = UppyFile<FileMeta, Body>

// Above this size multipart upload is used: a lost connection then costs one part.
const IN_PARTS = 16 * 1024 * 1024
// Over HTTP/1.1 a browser has six connections per origin, and the page itself needs some of them.
const AT_ONCE = { store: 5, tus: 3 }

export type UploaderOptions = {
  api: Api
  session: ConsoleSession
  /** The element that holds the Dashboard. */
  target: HTMLElement
  /** Called with the id of each file that has become a media object. */
  onStored: (id: string) => void
  onFailure: (error: Error) => void
  /** Closes Uppy and aborts pending uploads. */
  signal: AbortSignal
}

export function createUploader({ api, session, target, onStored, onFailure, signal }: UploaderOptions): Uploader {
  const { allowedTypes, maxObjectBytes: maxFileSize } = session
  const restrictions = { allowedFileTypes: offered(allowedTypes), maxFileSize, minFileSize: 1 }
  const uppy: Uploader = new Uppy({ autoProceed: true, restrictions, logger: SILENT })
  uppy
    .use(Dashboard, {
      target,
      inline: true,
      width: '100%',
      height: '100%',
      theme: 'auto',
      proudlyDisplayPoweredByUppy: false,
      singleFileFullScreen: false,
      // The page shows these messages in its own toasts.
      disableInformer: true,
      locale: { strings: { dropPasteImportFiles: 'Drop or paste pictures here, %{browseFiles} or use:' } },
      note: allowedTypes.map(shortType).join(', '),
    })
    .use(Webcam, { modes: ['picture'], mobileNativeCamera: true })
    .use(DropTarget, { target: document.body })
  if (session.uploads === 's3') sendToStore(uppy, api, onStored)
  else sendByTus(uppy, api, onStored)
  document.addEventListener('paste', (event) => takePasted(uppy, event), { signal })
  uppy.on('restriction-failed', (_file, error) => onFailure(error))
  uppy.on('upload-success', () => void setTimeout(() => clearDone(uppy), DONE_MS))
  resumeWhenOnline(uppy, onFailure, signal)
  signal.addEventListener('abort', () => uppy.destroy())
  return uppy
}

/** Types, and names: systems declare a HEIC by its name as `image/heif`, or not at all. */
function offered(allowedTypes: string[]): string[] {
  return allowedTypes.includes('image/heic') ? [...allowedTypes, '.heic', '.heif'] : allowedTypes
}

/** Takes files pasted anywhere on the page, except in the Dashboard, which handles its own. */
function takePasted(uppy: Uploader, { target, clipboardData }: ClipboardEvent): void {
  if (target instanceof Element && target.closest('.uppy-Root') !== null) return
  const files = [...(clipboardData?.files ?? [])].map((data) => ({ name: data.name, type: data.type, data }))
  try {
    if (files.length > 0) uppy.addFiles(files)
  } catch {
    // Uppy reports a refused file as `restriction-failed`.
  }
}

/** The page shows errors itself, so nothing goes to the browser's console. */
const SILENT = { debug() {}, warn() {}, error() {} }

// How long completed uploads stay visible.
const DONE_MS = 2500

/** Clears completed files when no upload is pending; failed ones stay. */
function clearDone(uppy: Uploader): void {
  const files = uppy.getFiles()
  const done = files.filter(({ progress, error }) => progress.uploadComplete && !error)
  if (done.length === files.length) uppy.clear()
  else if (files.every((file) => done.includes(file) || file.error)) uppy.removeFiles(done.map(({ id }) => id))
}

// Browsers do not report every lost connection between them and the service.
const AGAIN_MS = 10_000

/** Retries uploads that failed with the connection; refused ones would fail again. */
function resumeWhenOnline(uppy: Uploader, onFailure: (error: Error) => void, signal: AbortSignal): void {
  const lost = new Set<string>()
  let timer: ReturnType<typeof setTimeout> | undefined
  const resume = () => {
    clearTimeout(timer)
    timer = undefined
    for (const id of lost) if (uppy.getFile(id)?.error) void uppy.retryUpload(id)
    lost.clear()
  }
  uppy.on('upload-error', (file, error, response) => {
    if (file === undefined) return
    const refusal = refusalOf(error, response?.body?.xhr)
    uppy.setFileState(file.id, { error: refusal?.message ?? error.message })
    if (refusal !== undefined) return onFailure(about(file.name ?? 'The file', refusal))
    if (lost.size === 0) onFailure(new Error('The connection was lost. Uploads resume when it is back.'))
    lost.add(file.id)
    timer ??= setTimeout(resume, AGAIN_MS)
  })
  addEventListener('online', resume, { signal })
}

/** The refusal of the service or the store (4xx) that concerns the file, not a temporary failure. */
function refusalOf(error: Error, xhr: unknown): MediaError | undefined {
  const refusal = refusalIn(error, xhr)
  return refusal !== undefined && refusal.status >= 400 && refusal.status < 500 ? refusal : undefined
}

/** The error comes from this page, from tus, or from Uppy's S3 client. */
function refusalIn(error: Error | (Error & { status: number; body: string }), xhr: unknown): MediaError | undefined {
  if (error instanceof MediaError) return error
  if (xhr instanceof XMLHttpRequest)
    return problemOf({ status: xhr.status, header: () => null, text: xhr.responseText })
  if (!('status' in error)) return undefined
  return problemOf({ status: error.status, header: () => null, text: error.body })
}

/** The same error, prefixed with the file name. */
function about(name: string, { code, status, message }: MediaError): MediaError {
  return new MediaError(code, { status }, { detail: `${name}: ${message}` })
}

function sendByTus(uppy: Uploader, { headers, tusEndpoint: endpoint }: Api, onStored: (id: string) => void): void {
  uppy.use(Tus, {
    endpoint,
    headers,
    limit: AT_ONCE.tus,
    removeFingerprintOnSuccess: true,
    allowedMetaFields: ['name', 'type', 'visibility'],
    retryDelays: [0, 1000, 3000, 5000],
  })
  uppy.on('upload-success', (_file, { uploadURL }) => {
    // The last segment of the upload's address is the id of the object.
    const id = uploadURL?.split('/').at(-1)
    if (id !== undefined) onStored(id)
  })
}

function sendToStore(uppy: Uploader, api: Api, onStored: (id: string) => void): void {
  uppy.use(AwsS3, {
    limit: AT_ONCE.store,
    shouldUseMultipart: ({ size }) => (size ?? 0) >= IN_PARTS,
    generateObjectKey: ({ id }) => id,
    async signRequest(request) {
      // A new file has Uppy's id as key, later the store's key.
      const file = uppy.getFile(request.key) as File | undefined
      const signed = await api.sign({ ...request, ...(file && described(file)) })
      if (file !== undefined) uppy.setFileMeta(file.id, { mediaId: signed.id })
      return signed
    },
  })
  // Uppy itself aborts only multipart uploads.
  uppy.on('file-removed', ({ size, meta: { mediaId }, progress }) => {
    if (mediaId === undefined || progress.uploadComplete || (size ?? 0) >= IN_PARTS) return
    void api.abort(mediaId).catch(() => {})
  })
  uppy.on('upload-success', async (done) => {
    const file = done && uppy.getFile(done.id)
    const id = file?.meta.mediaId
    if (file === undefined || id === undefined) return
    try {
      await api.complete(id)
      onStored(id)
    } catch (error) {
      uppy.emit('upload-error', file, error as Error)
    }
  })
}

function described({ name, type, size, meta }: File) {
  return { filename: name, fileType: type, size, visibility: meta.visibility }
}

function shortType(type: string): string {
  return type.slice(type.indexOf('/') + 1).toUpperCase()
}
