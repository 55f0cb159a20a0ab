/** HTTP calls with retries. */
import type { ProblemCode } from './types.ts'

/** The bearer token of each call. A function is called before each one, so that it can return a fresh token. */
export type Token = string | undefined | (() => string | undefined | Promise<string | undefined>)

export type HttpOptions = {
  /** The public base URL of the service, such as `https://api.example.com`. */
  baseUrl: string
  /** Absent when a gateway authenticates the user by other means, such as a cookie. */
  token?: Token
  /** Replaces the runtime's `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** `loaded` and `total` in bytes. */
export type Progress = (progress: { loaded: number; total: number }) => void

export type Sent = {
  method?: string
  headers?: Record<string, string>
  body?: Blob | FormData | string | undefined
  signal?: AbortSignal | undefined
  /** Called with the number of body bytes sent, where the runtime reports it (browsers do). */
  onSent?: ((bytes: number) => void) | undefined
}
/** `tries`: number of attempts. `text`: the whole body. */
export type Answer = { status: number; header(name: string): string | null; text: string; tries: number }

/** A problem response of the service (RFC 9457), or a network error. */
export class MediaError extends Error {
  /** Stable, for use in a switch. `network`: no response arrived. */
  readonly code: ProblemCode | 'network'
  /** HTTP status; 0 without a response. */
  readonly status: number
  /** The invalid fields of the request. */
  readonly errors: { field: string; message: string }[]
  /** The id of the object that this Idempotency-Key was used for before. */
  readonly id: string | undefined
  /** The ids of the objects to blame, where the call named several. */
  readonly ids: string[]
  /** The request id in the service's log. */
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
    this.ids = body.ids ?? []
    this.requestId = answer.header?.('x-request-id') ?? null
  }
}
type ProblemBody = {
  code: ProblemCode
  title: string
  detail: string
  errors: MediaError['errors']
  id: string
  ids: string[]
}

/** `once`: a call that succeeds only once; a repeat gets 404. */
type Call = Sent & { json?: unknown; once?: boolean }

// Half a minute in all: long enough for a restart or a change of networks.
const PAUSES = [500, 1000, 2000, 4000, 8000, 15_000]
const PASSING = new Set([408, 429, 500, 502, 503, 504])

export type Http = ReturnType<typeof createHttp>

export function createHttp({ baseUrl, token, fetch: ask = (...given) => fetch(...given) }: HttpOptions) {
  const origin = baseUrl.replace(/\/+$/, '')
  const persistently = (url: string, sent: Sent) => sendPersistently(ask, url, sent)

  async function authorization(): Promise<Record<string, string>> {
    const presented = typeof token === 'function' ? await token() : token
    return presented === undefined ? {} : { authorization: `Bearer ${presented}` }
  }

  /**
   * Calls the service; `path` begins with a slash.
   * @throws MediaError
   */
  async function call(path: string, { json, once, ...sent }: Call = {}): Promise<Answer> {
    const answer = await persistently(origin + path, {
      ...sent,
      headers: {
        ...(await authorization()),
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...sent.headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
    })
    // An earlier attempt succeeded, but its response was lost.
    const done = once === true && answer.status === 404 && answer.tries > 1
    if (answer.status >= 300 && !done) throw problemOf(answer)
    return answer
  }

  return {
    persistently,
    call,
    /** Calls the service and parses the JSON response. */
    ask: async <T>(path: string, sent?: Parameters<typeof call>[1]): Promise<T> =>
      JSON.parse((await call(path, sent)).text),
    /** Opens a streaming response; never retried. */
    async open(path: string, { headers, signal }: Pick<Sent, 'headers' | 'signal'>): Promise<Response> {
      return ask(origin + path, { headers: { ...(await authorization()), ...headers }, ...(signal && { signal }) })
    },
  }
}

type Fetch = NonNullable<HttpOptions['fetch']>

/** Sends with retries while they may help; resolves with the last response, whatever its status. */
async function sendPersistently(ask: Fetch, url: string, sent: Sent): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    const pause = PAUSES[tries - 1]
    const answer = await send(ask, url, sent).catch((error) => {
      if (pause === undefined || !(error instanceof MediaError)) throw error
      return undefined
    })
    if (answer !== undefined && (pause === undefined || !isPassing(answer))) return { ...answer, tries }
    await sleep(pauseOf(answer, pause ?? 0), sent.signal)
  }
}

/**
 * Sends one request to any URL, without retries.
 * @throws MediaError `network`, or the reason of `signal`
 */
async function send(
  ask: Fetch,
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

/** Converts a response to an error; for one of the store, only its status counts. */
export function problemOf(answer: Omit<Answer, 'tries'>): MediaError {
  let body: Partial<ProblemBody> = {}
  try {
    body = JSON.parse(answer.text)
  } catch {
    // An HTML page of a proxy, or XML of a store.
  }
  return new MediaError(body.code ?? (answer.status >= 500 ? 'internal' : 'request_invalid'), answer, body)
}

/** A 409 for a request of the same key that is still running; it carries Retry-After. */
function isPassing({ status, header }: Omit<Answer, 'tries'>): boolean {
  return PASSING.has(status) || (status === 409 && header('retry-after') !== null)
}

/** The delay of Retry-After; otherwise exponential backoff with jitter. */
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

/** Uses XMLHttpRequest: `fetch` does not report upload progress (2026). */
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
