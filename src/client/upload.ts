/** Uploads: direct, by one presigned link, or multipart. */
import { type Http, MediaError, type Progress, problemOf, type Sent } from './http.ts'
import type { MediaObject, Multipart, PartLinks, Parts, Presigned, Visibility } from './types.ts'

export type UploadOptions = {
  /** Default: the name of the file, or `file`. */
  name?: string
  /** Media type; default: the type of the file. The service checks it against the bytes. */
  type?: string
  visibility?: Visibility
  /** The object goes to the bin so many seconds after the upload unless it is claimed: 60 to 2,592,000. */
  holdSeconds?: number
  /** From 0 to the file size; never decreases. */
  onProgress?: Progress
  /** Stops the upload and aborts it at the service. */
  signal?: AbortSignal
  /**
   * Continues an earlier upload of this file with this key, also one of another page or process: bytes already stored
   * are not sent again.
   */
  idempotencyKey?: string
}

// Direct upload saves two requests; multipart upload limits how much a lost connection repeats.
const DIRECT_BYTES = 4 * 1024 * 1024
const LINK_BYTES = 32 * 1024 * 1024
const PARTS_AT_ONCE = 3
// Links expire; the client then asks for another.
const LINK_TRIES = 3

type Told = Required<Pick<UploadOptions, 'name' | 'type' | 'visibility'>> & {
  holdSeconds: number | undefined
  key: string
  signal: AbortSignal | undefined
  /** Reports the number of bytes sent of one piece of the file. */
  sent: (piece: number, bytes: number) => void
}

export async function upload(http: Http, file: Blob, options: UploadOptions = {}): Promise<MediaObject> {
  const { name = nameOf(file), type = file.type, visibility = 'private', holdSeconds, signal } = options
  const key = options.idempotencyKey ?? randomKey()
  const told = { name, type, visibility, holdSeconds, key, signal, sent: watch(file.size, options.onProgress) }
  const object = await byWay(http, file, told)
  options.onProgress?.({ loaded: file.size, total: file.size })
  return object
}

async function byWay(http: Http, file: Blob, told: Told): Promise<MediaObject> {
  try {
    return await byItsSize(http, file, told)
  } catch (error) {
    // The upload was complete and only the response was lost. If the object was deleted since, the refusal stands.
    if (!isProblem(error, 'state_conflict') || error.id === undefined) throw error
    return complete(http, error.id, told.signal).catch((other) => {
      throw isProblem(other, 'not_found') ? error : other
    })
  }
}

async function byItsSize(http: Http, file: Blob, told: Told): Promise<MediaObject> {
  if (file.size <= DIRECT_BYTES) {
    try {
      return await direct(http, file, told)
    } catch (error) {
      if (!isProblem(error, 'file_too_large', 'body_too_large')) throw error
    }
  }
  if (file.size > LINK_BYTES) {
    try {
      return await inParts(http, file, told)
    } catch (error) {
      // The store does not support multipart uploads.
      if (!isProblem(error, 'state_conflict') || error.id !== undefined) throw error
    }
  }
  return overLink(http, file, told)
}

async function direct(
  http: Http,
  file: Blob,
  { name, visibility, holdSeconds, key, signal, sent }: Told,
): Promise<MediaObject> {
  const body = new FormData()
  body.set('visibility', visibility)
  if (holdSeconds !== undefined) body.set('holdSeconds', String(holdSeconds))
  body.set('file', file, name)
  const headers = { 'idempotency-key': key }
  return http.ask('/media/upload', { method: 'POST', body, headers, signal, onSent: (bytes) => sent(0, bytes) })
}

async function overLink(http: Http, file: Blob, told: Told): Promise<MediaObject> {
  const { signal, sent } = told
  const link = () => begin<Presigned>(http, '/media/presign', file, told)
  let { id, uploadUrl, headers } = await link()
  return orTakenBack(http, id, async () => {
    for (let tries = 1; ; tries += 1) {
      const put = { method: 'PUT', headers, body: file, signal, onSent: (bytes: number) => sent(0, bytes) }
      const answer = await http.persistently(uploadUrl, put)
      // 412: the bytes are stored and only the response was lost.
      if (answer.status < 300 || answer.status === 412) return complete(http, id, signal)
      if (tries === LINK_TRIES || answer.status !== 403) throw problemOf(answer)
      ;({ id, uploadUrl, headers } = await link())
    }
  })
}

async function inParts(http: Http, file: Blob, told: Told): Promise<MediaObject> {
  const { signal, sent } = told
  const { id, partSize } = await begin<Multipart>(http, '/media/multipart', file, told)
  return orTakenBack(http, id, async () => {
    const missing = await missingParts(http, id, Math.ceil(file.size / partSize), told, partSize)
    const sendNext = async (): Promise<void> => {
      for (let partNumber = missing.shift(); partNumber !== undefined; partNumber = missing.shift()) {
        const number = partNumber
        const body = file.slice((number - 1) * partSize, number * partSize)
        await sendPart(http, id, number, { body, signal, onSent: (bytes) => sent(number, bytes) })
        sent(number, body.size)
      }
    }
    const giveUp = (error: unknown) => {
      missing.length = 0
      throw error
    }
    // When a part fails, let those in flight finish, so that a resumed upload need not resend them.
    const outcomes = await Promise.allSettled(Array.from({ length: PARTS_AT_ONCE }, () => sendNext().catch(giveUp)))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    return complete(http, id, signal)
  })
}

/** The part numbers still to send: all when nothing has arrived, none when the store has assembled the parts. */
async function missingParts(
  http: Http,
  id: string,
  count: number,
  { sent, signal }: Told,
  partSize: number,
): Promise<number[]> {
  const arrived = new Set<number>()
  try {
    const { parts } = await http.ask<Parts>(`/media/${id}/parts`, { signal })
    for (const { partNumber, size } of parts) {
      arrived.add(partNumber)
      sent(partNumber, size)
    }
  } catch (error) {
    if (!isProblem(error, 'state_conflict')) throw error
    sent(0, count * partSize)
    return []
  }
  return Array.from({ length: count }, (_, i) => i + 1).filter((partNumber) => !arrived.has(partNumber))
}

async function sendPart(http: Http, id: string, partNumber: number, sent: Sent): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const asked = { method: 'POST', json: { partNumbers: [partNumber] }, signal: sent.signal }
    const { urls } = await http.ask<PartLinks>(`/media/${id}/parts`, asked)
    const answer = await http.persistently(urls[0]?.url ?? '', { ...sent, method: 'PUT' })
    if (answer.status < 300) return
    if (tries === LINK_TRIES || answer.status !== 403) throw problemOf(answer)
  }
}

function begin<T>(http: Http, path: string, file: Blob, told: Told): Promise<T> {
  const { name, type, visibility, holdSeconds, key, signal } = told
  const json = { filename: name, fileType: type, size: file.size, visibility, holdSeconds }
  return http.ask<T>(path, { method: 'POST', json, headers: { 'idempotency-key': key }, signal })
}

function complete(http: Http, id: string, signal: AbortSignal | undefined): Promise<MediaObject> {
  return http.ask(`/media/${id}/complete`, { method: 'POST', signal })
}

/** A stopped upload is aborted; a failed one stays pending and can be resumed. */
async function orTakenBack<T>(http: Http, id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof MediaError)) await http.call(`/media/${id}/upload`, { method: 'DELETE' }).catch(() => {})
    throw error
  }
}

/** Sums the bytes sent of all pieces, and reports increases only. */
function watch(total: number, onProgress: Progress | undefined): Told['sent'] {
  const pieces = new Map<number, number>()
  let most = 0
  return (piece, bytes) => {
    pieces.set(piece, bytes)
    const loaded = Math.min(
      total,
      [...pieces.values()].reduce((sum, each) => sum + each, 0),
    )
    if (loaded <= most) return
    most = loaded
    onProgress?.({ loaded, total })
  }
}

function isProblem(error: unknown, ...codes: MediaError['code'][]): error is MediaError {
  return error instanceof MediaError && codes.includes(error.code)
}

function nameOf(file: Blob): string {
  return 'name' in file && typeof file.name === 'string' && file.name !== '' ? file.name : 'file'
}

/** `crypto.randomUUID` exists in secure contexts only. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
