/** Calls that are tried again for as long as that can help. */
import type { ProblemCode } from './types.ts'

/** Sent to the service with each call. A function is asked each time, so that it can give a fresh one. */
export type Token = string | undefined | (() => string | undefined | Promise<string | undefined>)

export type HttpOptions = {
  /** Where clients reach the service, as `https://api.example.com`. */
  baseUrl: string
  /** Absent where a gateway in front knows the user by other means, such as a cookie. */
  token?: Token
  /** Instead of the runtime's own. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** `loaded` and `total` in bytes. */
export type Progress = (progress: { loaded: number; total: number }) => void

export type Sent = {
  method?: string
  headers?: Record<string, string>
  body?: Blob | FormData | string | undefined
  signal?: AbortSignal | undefined
  /** Told how many bytes of the body are out, where the runtime says so (browsers do). */
  onSent?: ((bytes: number) => void) | undefined
}
/** `tries`: how many it took. `text`: the whole body. */
export type Answer = { status: number; header(name: string): string | null; text: string; tries: number }

/** What the service refused, or could not do (RFC 9457). */
export class MediaError extends Error {
  /** Stable: switch on it. `network`: no answer came. */
  readonly code: ProblemCode | 'network'
  /** Of HTTP; 0 where no answer came. */
  readonly status: number
  /** What is wrong with which field of the request. */
  readonly errors: { field: string; message: string }[]
  /** Of the object that was uploaded with this Idempotency-Key before, where that is why. */
  readonly id: string | undefined
  /** What the service's log calls the request. */
  readonly requestId: string | null

  constructor(
    code: MediaError['code'],
    answer: Partial<Answer> = {},
    body: Partial<ProblemBody> = {},
    cause?: unknown,
  ) {
    super(body.detail ?? body.title ?? `The service answered ${answer.status ?? 'nothing'}.`, { cause })
    this.name = 'MediaError'
    this.code = code
    this.status = answer.status ?? 0
    this.errors = body.errors ?? []
    this.id = body.id
    this.requestId = answer.header?.('x-request-id') ?? null
  }
}
type ProblemBody = { code: ProblemCode; title: string; detail: string; errors: MediaError['errors']; id: string }

/** `once`: what works only once, and gets 404 from then on. */
type Call = Sent & { json?: unknown; once?: boolean }

// Half a minute in all: a restart, a change of networks, a short way under ground.
const PAUSES = [500, 1000, 2000, 4000, 8000, 15_000]
const PASSING = new Set([408, 429, 500, 502, 503, 504])

export type Http = ReturnType<typeof createHttp>

export function createHttp({ baseUrl, token, fetch: ask = (...given) => fetch(...given) }: HttpOptions) {
  const origin = baseUrl.replace(/\/+$/, '')

  /** Anywhere, as it is. Throws MediaError `network`, or the reason of `signal`. */
  async function send(
    url: string,
    { method = 'GET', headers = {}, body, signal, onSent }: Sent,
  ): Promise<Omit<Answer, 'tries'>> {
    signal?.throwIfAborted()
    try {
      if (onSent && typeof XMLHttpRequest !== 'undefined')
        return await sendWithProgress(url, { method, headers, body, signal, onSent })
      const response = await ask(url, {
        method,
        headers,
        ...(body !== undefined && { body }),
        ...(signal && { signal }),
      })
      return { status: response.status, header: (name) => response.headers.get(name), text: await response.text() }
    } catch (error) {
      signal?.throwIfAborted()
      throw new MediaError('network', {}, { detail: 'The connection failed.' }, error)
    }
  }

  /** The same, again and again where that may help; the last answer whatever its status. */
  async function persistently(url: string, sent: Sent): Promise<Answer> {
    for (let tries = 1; ; tries += 1) {
      const pause = PAUSES[tries - 1]
      const answer = await send(url, sent).catch((error) => {
        if (pause === undefined || !(error instanceof MediaError)) throw error
        return undefined
      })
      if (answer !== undefined && (pause === undefined || !isPassing(answer))) return { ...answer, tries }
      await sleep(pauseOf(answer, pause ?? 0), sent.signal)
    }
  }

  /** A call of the service: `path` begins with a slash. Throws MediaError. */
  async function call(path: string, { json, once, ...sent }: Call = {}): Promise<Answer> {
    const presented = typeof token === 'function' ? await token() : token
    const answer = await persistently(origin + path, {
      ...sent,
      headers: {
        ...(presented !== undefined && { authorization: `Bearer ${presented}` }),
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...sent.headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
    })
    // An earlier try did it, and its answer was lost.
    const done = once === true && answer.status === 404 && answer.tries > 1
    if (answer.status >= 300 && !done) throw problemOf(answer)
    return answer
  }

  return {
    persistently,
    call,
    /** What the service answers in JSON. */
    ask: async <T>(path: string, sent?: Parameters<typeof call>[1]): Promise<T> =>
      JSON.parse((await call(path, sent)).text),
    /** A stream of what the service goes on answering; not tried again. */
    async open(path: string, { headers, signal }: Pick<Sent, 'headers' | 'signal'>): Promise<Response> {
      const presented = typeof token === 'function' ? await token() : token
      return ask(origin + path, {
        headers: { ...(presented !== undefined && { authorization: `Bearer ${presented}` }), ...headers },
        ...(signal && { signal }),
      })
    },
  }
}

/** The error that an answer says; of a store's, only its status. */
export function problemOf(answer: Omit<Answer, 'tries'>): MediaError {
  let body: Partial<ProblemBody> = {}
  try {
    body = JSON.parse(answer.text)
  } catch {
    // A proxy's page, or a store's XML.
  }
  return new MediaError(body.code ?? (answer.status >= 500 ? 'internal' : 'request_invalid'), answer, body)
}

/** An earlier request with the same key that is still at work says when to come back. */
function isPassing({ status, header }: Omit<Answer, 'tries'>): boolean {
  return PASSING.has(status) || (status === 409 && header('retry-after') !== null)
}

/** As the service asks for; else longer each time, and not the same for everyone. */
function pauseOf(answer: Omit<Answer, 'tries'> | undefined, pause: number): number {
  const seconds = Number(answer?.header('retry-after') ?? Number.NaN)
  return Number.isNaN(seconds) ? pause * (0.5 + Math.random()) : Math.min(60, seconds) * 1000
}

export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    if (signal?.aborted) stop()
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** `fetch` does not tell how far a body is out (2026). */
function sendWithProgress(
  url: string,
  { method = 'GET', headers, body, signal, onSent }: Sent,
): Promise<Omit<Answer, 'tries'>> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open(method, url)
    for (const [name, value] of Object.entries(headers ?? {})) request.setRequestHeader(name, value)
    request.upload.onprogress = ({ loaded }) => onSent?.(loaded)
    request.onload = () =>
      resolve({ status: request.status, header: (name) => request.getResponseHeader(name), text: request.responseText })
    request.onerror = reject
    request.onabort = reject
    const abort = () => request.abort()
    request.onloadend = () => signal?.removeEventListener('abort', abort)
    signal?.addEventListener('abort', abort)
    request.send(body ?? null)
  })
}
