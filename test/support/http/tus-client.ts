import { expect } from 'bun:test'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http'
import type { Readable } from 'node:stream'
import { DetailedError, Upload, type UploadOptions } from 'tus-js-client'
import type { Stage } from '../process/acceptance.ts'
import { freePort } from '../process/port.ts'
import { answered, expectBytes, expectProblem, type SignedMediaObject, tokenFor, until } from './client.ts'
import { uploadsUnderWay } from './parts.ts'

export const TUS = { 'tus-resumable': '1.0.0' }
const OFFSETS = { ...TUS, 'content-type': 'application/offset+octet-stream' }

/** What a tus upload came to. `log`: each answer as `METHOD status offset`. */
export type Outcome = { id: string; url: string; location: string | undefined; log: string[] }

type Options = Partial<UploadOptions> & {
  /** Called once, when this part of the bytes is on its way. */
  at?: { part: number; act: (upload: Upload) => unknown }
}

/** An upload by tus-js-client, as it comes from npm: resolves when it is done, rejects with the client's error. */
export async function tusUpload(
  baseUrl: string,
  as: string,
  file: Uint8Array<ArrayBuffer> | Readable,
  { at, ...options }: Options = {},
): Promise<Outcome> {
  const headers = { authorization: `Bearer ${await tokenFor(as)}` }
  const log: string[] = []
  let acted = false
  return new Promise((resolve, reject) => {
    const upload = new Upload(file instanceof Uint8Array ? Buffer.from(file.buffer) : file, {
      endpoint: `${baseUrl}/media/tus`,
      headers,
      metadata: { filename: 'holiday.jpg', filetype: 'image/jpeg' },
      retryDelays: null,
      onAfterResponse(request, response) {
        log.push(`${request.getMethod()} ${response.getStatus()} ${response.getHeader('upload-offset') ?? ''}`.trim())
      },
      onProgress(sent, total) {
        if (at === undefined || acted || sent < (total ?? 0) * at.part) return
        acted = true
        at.act(upload)
      },
      onSuccess({ lastResponse }) {
        const url = upload.url ?? ''
        resolve({ id: idIn(url), url, location: lastResponse.getHeader('media-location'), log })
      },
      onError: reject,
      ...options,
    })
    upload.start()
  })
}

/** Begins an upload and breaks it off in the middle, as a client that goes away; gives its address. */
export async function tusBroken(
  baseUrl: string,
  as: string,
  file: Uint8Array<ArrayBuffer>,
  options: Options = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const act = async (upload: Upload) => {
      await upload.abort()
      resolve(upload.url ?? '')
    }
    // In pieces, so that what the client says is on its way can't be all of it.
    tusUpload(baseUrl, as, file, { at: { part: 0.5, act }, chunkSize: 5 * 1024 * 1024, ...options }).then(
      () => reject(new Error('it was over before it could be broken off')),
      reject,
    )
  })
}

/** The answer that a client's error is about. */
export function answerIn(error: unknown): { status: number | undefined; code: string | undefined } {
  const answer = error instanceof DetailedError ? error.originalResponse : null
  const body = answer?.getBody() ?? ''
  return { status: answer?.getStatus(), code: body.startsWith('{') ? JSON.parse(body).code : undefined }
}

export function idIn(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1)
}

/** Upload-Metadata as clients write it. */
export function described(metadata: Record<string, string>): string {
  return Object.entries(metadata)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
    .join(',')
}

/** A PATCH that sends some bytes and then only what it is told to. */
export async function slowPatch(url: string, as: string, { offset, length }: { offset: number; length: number }) {
  const request = httpRequest(url, {
    method: 'PATCH',
    headers: {
      ...OFFSETS,
      authorization: `Bearer ${await tokenFor(as)}`,
      'upload-offset': String(offset),
      'content-length': String(length),
    },
  })
  const answered = once(request, 'response').then(([answer]: IncomingMessage[]) => {
    answer?.resume()
    return { status: answer?.statusCode, offset: Number(answer?.headers['upload-offset']) }
  })
  return {
    answered,
    send: (bytes: Uint8Array) => new Promise<void>((resolve) => request.write(bytes, () => resolve())),
    end: () => request.end(),
    destroy() {
      answered.catch(() => {})
      request.destroy()
    },
  }
}

/**
 * Resolves when another request has the upload: one at a wrong offset is then refused with 423, not with 409. A refusal
 * takes over a second, in which what was sent before arrives.
 */
export async function untilTaken(url: string, as: string): Promise<void> {
  const authorization = `Bearer ${await tokenFor(as)}`
  const { method, headers } = patchAt(1)
  await until(async () => {
    const { status } = await fetch(url, { method, headers: { ...headers, authorization }, body: 'a' })
    expect(status).toBe(423)
  })
}

/** All of PATCH but its body. */
export const patchAt = (offset: number) => ({
  method: 'PATCH',
  headers: { ...OFFSETS, 'upload-offset': String(offset) },
})

/** Passes each request on to the next of several services, as a gateway without sessions does. */
export async function startRoundRobin(targets: string[]): Promise<{ url: string; close: () => Promise<void> }> {
  const port = await freePort()
  let next = 0
  const server: Server = createServer((asked, answer) => {
    const target = targets[next++ % targets.length] ?? ''
    const { method, headers } = asked
    const passed = httpRequest(new URL(asked.url ?? '/', target), { method, headers, agent: false }, (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers)
      got.pipe(answer)
    })
    passed.on('error', () => answer.destroy())
    asked.pipe(passed)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

export const picture = { filename: 'a.jpg', filetype: 'image/jpeg' }

/** The calls of tus by hand, and what must have come of them. */
export function tusCalls({ call, get, inside, env }: Omit<Stage, 'close'>) {
  const create = (as: string, metadata: Record<string, string>, length: number, more: Record<string, string> = {}) =>
    call('/media/tus', {
      as,
      method: 'POST',
      headers: { ...TUS, 'upload-length': String(length), 'upload-metadata': described(metadata), ...more },
    })
  /** The path of a new upload. */
  const begun = async (as: string, length: number, metadata: Record<string, string> = picture) => {
    const answer = await create(as, metadata, length)
    expect(answer.status).toBe(201)
    return new URL(answer.headers.get('location') ?? '').pathname
  }
  const head = (as: string, path: string) => call(path, { as, method: 'HEAD', headers: TUS })
  const offsetOf = async (as: string, path: string) => Number((await head(as, path)).headers.get('upload-offset'))
  const send = (as: string, path: string, offset: number, bytes: Uint8Array<ArrayBuffer>) =>
    call(path, { as, ...patchAt(offset), body: bytes })
  const expectStored = async (as: string, id: string, bytes: Uint8Array) => {
    const { signedUrl, ...object } = await answered<SignedMediaObject>(200, await get(as, id))
    await expectBytes(await fetch(signedUrl), bytes)
    return object
  }
  /** Nothing of it in the store; the row on its way out, and not there for anyone. */
  const expectGone = async (as: string, id: string) => {
    const key = `media/${id}/original.jpg`
    await until(async () => expect(await inside?.keys(`media/${id}/`)).toEqual(inside && []))
    if (inside) expect(await uploadsUnderWay(env.S3_BUCKET ?? '', key)).toEqual([])
    if (inside) expect((await inside.rowOf(id))?.status).toBe('purging')
    await expectProblem(await get(as, id), 404, 'not_found')
    expect((await head(as, `/media/tus/${id}`)).status).toBe(404)
  }
  return { create, begun, head, offsetOf, send, expectStored, expectGone }
}
