/** Files on their way in: through the service, over one link to the store, or in parts. */
import { type Http, MediaError, type Progress, problemOf, type Sent } from './http.ts'
import type { MediaObject, Multipart, PartLinks, Parts, Presigned, Visibility } from './types.ts'

export type UploadOptions = {
  /** Else the file's own, or `file`. */
  name?: string
  /** Media type; else the file's own. The service looks at the bytes in any case. */
  type?: string
  visibility?: Visibility
  /** From 0 to the size of the file; never goes back. */
  onProgress?: Progress
  /** Stops the upload and takes it back. */
  signal?: AbortSignal
  /**
   * Makes this upload the same as an earlier one with this key and file, also of another page or process: what has
   * arrived is not sent again.
   */
  idempotencyKey?: string
}

// Through the service: one request instead of three. In parts: what a broken connection should not send again.
const DIRECT_BYTES = 4 * 1024 * 1024
const LINK_BYTES = 32 * 1024 * 1024
const PARTS_AT_ONCE = 3
// Links die; one more is asked for.
const LINK_TRIES = 3

type Told = Required<Pick<UploadOptions, 'name' | 'type' | 'visibility'>> & {
  key: string
  signal: AbortSignal | undefined
  /** How many bytes of one piece of the file are out. */
  sent: (piece: number, bytes: number) => void
}

export async function upload(http: Http, file: Blob, options: UploadOptions = {}): Promise<MediaObject> {
  const { name = nameOf(file), type = file.type, visibility = 'private', signal } = options
  const key = options.idempotencyKey ?? randomKey()
  const told = { name, type, visibility, key, signal, sent: watch(file.size, options.onProgress) }
  const object = await byWay(http, file, told)
  options.onProgress?.({ loaded: file.size, total: file.size })
  return object
}

async function byWay(http: Http, file: Blob, told: Told): Promise<MediaObject> {
  try {
    return await byItsSize(http, file, told)
  } catch (error) {
    // It was complete, and only the answer was lost. What was deleted since stays the refusal that it is.
    if (!isProblem(error, 'state_conflict') || error.id === undefined) throw error
    return complete(http, error.id, told.signal).catch((other) => {
      throw isProblem(other, 'not_found') ? error : other
    })
  }
}

async function byItsSize(http: Http, file: Blob, told: Told): Promise<MediaObject> {
  // The service finds the type by itself only of what goes through it.
  if (file.size <= DIRECT_BYTES || told.type === '') {
    try {
      return await direct(http, file, told)
    } catch (error) {
      if (!isProblem(error, 'file_too_large', 'body_too_large') || told.type === '') throw error
    }
  }
  if (file.size > LINK_BYTES) {
    try {
      return await inParts(http, file, told)
    } catch (error) {
      // The store has no uploads in parts.
      if (!isProblem(error, 'state_conflict') || error.id !== undefined) throw error
    }
  }
  return overLink(http, file, told)
}

async function direct(http: Http, file: Blob, { name, visibility, key, signal, sent }: Told): Promise<MediaObject> {
  const body = new FormData()
  body.set('visibility', visibility)
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
      // 412: they are there, and only the answer was lost.
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
    // What is on its way when one part fails is let arrive, for who goes on with the upload.
    const outcomes = await Promise.allSettled(Array.from({ length: PARTS_AT_ONCE }, () => sendNext().catch(giveUp)))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    return complete(http, id, signal)
  })
}

/** All, where none has arrived; none, where they are put together already. */
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

function begin<T>(http: Http, path: string, file: Blob, { name, type, visibility, key, signal }: Told): Promise<T> {
  const json = { filename: name, fileType: type, size: file.size, visibility }
  return http.ask<T>(path, { method: 'POST', json, headers: { 'idempotency-key': key }, signal })
}

function complete(http: Http, id: string, signal: AbortSignal | undefined): Promise<MediaObject> {
  return http.ask(`/media/${id}/complete`, { method: 'POST', signal })
}

/** An upload that was stopped leaves nothing behind; one that failed stays, to be gone on with. */
async function orTakenBack<T>(http: Http, id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof MediaError)) await http.call(`/media/${id}/upload`, { method: 'DELETE' }).catch(() => {})
    throw error
  }
}

/** Adds up what is out of each piece, and tells only of progress. */
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

/** `crypto.randomUUID` is for secure contexts only. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
