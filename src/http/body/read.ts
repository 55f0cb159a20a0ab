/** Reads request bodies within limits, and drains unread ones so that the client sees the response. */
import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { Problem } from '../../problem.ts'
import { received } from '../../telemetry/record.ts'

const JSON_BYTES = 64 * 1024

// Many clients read the response only after sending everything, and see a broken pipe when the connection closes
// earlier (RFC 9112, section 9.6). The service therefore drains a refused body, up to these bounds.
const DRAIN_BYTES = 64 * 1024 * 1024
const DRAIN_MS = 5000

// 64 KiB/s is a poor mobile connection; a slower body is aborted only while other uploads wait for memory.
const PACE_WINDOW_MS = 5000
const FAIR_BYTES = (64 * 1024 * PACE_WINDOW_MS) / 1000
const STALLED_MS = 30_000

/** Drains a body that no handler has read, so that the client gets to read the response. */
export function drainUnread(): MiddlewareHandler {
  return function drainUnread(c, next) {
    return mayHaveBody(c.req.raw) ? drainAfter(c.req, next) : next()
  }
}

async function drainAfter(req: { raw: Request }, next: () => Promise<void>): Promise<void> {
  await next()
  // Read here and not earlier: a handler may have replaced the request.
  const { raw } = req
  // `body` is tested last: reading that property creates a stream, even for a body that is empty or consumed.
  if (raw.bodyUsed) return
  const { body } = raw
  if (body === null || body.locked) return
  await drain(body.getReader())
}

/** Decides by the headers. HTTP/2 bodies need none, but clients send no body with GET, HEAD or DELETE. */
function mayHaveBody({ method, headers }: Request): boolean {
  const length = headers.get('content-length')
  if (length !== null) return length !== '0'
  return headers.has('transfer-encoding') || !['GET', 'HEAD', 'DELETE'].includes(method)
}

/** Accepts only JSON bodies of reasonable size; throws Problem `content_type_unsupported` or `body_too_large`. */
export function jsonOnly(): MiddlewareHandler<{ Variables: object }> {
  const limit = bodyLimit({
    maxSize: JSON_BYTES,
    onError: () => {
      throw bodyTooLarge(JSON_BYTES)
    },
  })
  return async function jsonOnly(c, next) {
    const type = c.req.header('content-type') ?? ''
    if (!/^application\/json\s*(;|$)/i.test(type))
      throw new Problem('content_type_unsupported', 'Send the request as application/json.')
    // The route's validator refuses some parameter spellings that RFC 9110, section 5.6.6, allows.
    if (type.includes(';')) c.req.raw = withoutParameters(c.req.raw)
    const { headers } = c.req.raw
    const length = headers.get('content-length')
    if (length === null || headers.has('transfer-encoding')) return orBrokenOff(limit(c, next))
    // Checked here because `limit` reads the `body` property, which makes `json()` read a stream instead of one buffer.
    if (!(Number(length) <= JSON_BYTES)) throw bodyTooLarge(JSON_BYTES)
    // Hono keeps the text, and the validator parses it.
    await orBrokenOff(c.req.text())
    await next()
  }
}

/** A client that disconnects within a body is no failure of the server. */
export async function orBrokenOff<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (error) {
    throw error instanceof Problem ? error : brokenOff(error)
  }
}

/** JSON is UTF-8, whatever the charset parameter says (RFC 8259, section 11). */
function withoutParameters(request: Request): Request {
  const headers = new Headers(request.headers)
  headers.set('content-type', 'application/json')
  return new Request(request, { headers })
}

export type BodyLimits = {
  /** Maximum length in bytes. */
  limit: number
  /** Creates the error for a longer body. */
  tooLarge: () => Problem
  /** Whether other uploads wait for the memory this body holds; it then has to keep a minimum pace. */
  contended: () => boolean
}

/**
 * The announced length; undefined for a chunked body.
 * @throws `tooLarge` when it exceeds the limit
 */
export function announcedLength(request: Request, { limit, tooLarge }: BodyLimits): number | undefined {
  const announced = request.headers.get('content-length')
  if (announced === null) return undefined
  if (Number(announced) > limit) throw tooLarge()
  return Number(announced)
}

/**
 * Reads the whole body into one buffer.
 * @throws `tooLarge`: before reading when Content-Length exceeds the limit, else as soon as the bytes do
 * @throws Problem `request_invalid` when the body breaks off, `request_timeout` when it stalls
 */
export async function readBody(request: Request, limits: BodyLimits): Promise<Uint8Array<ArrayBuffer>> {
  const length = announcedLength(request, limits)
  if (request.body === null) return new Uint8Array()
  const reader = request.body.getReader()
  const buffer = growing(length ?? 0)
  const pace = watchPace(reader, buffer.length, limits.contended)
  try {
    for (;;) {
      const { done, value } = await next(reader)
      pace.check()
      if (done) break
      if (buffer.length() + value.length > limits.limit) {
        await drain(reader)
        throw limits.tooLarge()
      }
      buffer.append(value)
    }
  } finally {
    pace.end()
    if (length === undefined) received(buffer.length())
  }
  if (length !== undefined && buffer.length() < length) throw brokenOff()
  return buffer.bytes()
}

export function bodyTooLarge(limit: number): Problem {
  return new Problem('body_too_large', `The request body is larger than ${limit} bytes.`)
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>) {
  try {
    return await reader.read()
  } catch (error) {
    throw brokenOff(error)
  }
}

function brokenOff(cause?: unknown): Problem {
  return new Problem('request_invalid', 'The connection closed before the end of the request body.', { cause })
}

/** Aborts a body that stalls, or that is slow while other uploads wait; `check` then throws. */
function watchPace(reader: ReadableStreamDefaultReader<Uint8Array>, received: () => number, contended: () => boolean) {
  let before = 0
  let idle = 0
  let slow = false
  const timer = setInterval(() => {
    const progress = received() - before
    before = received()
    idle = progress === 0 ? idle + PACE_WINDOW_MS : 0
    slow ||= idle >= STALLED_MS || (contended() && progress < FAIR_BYTES)
    if (slow) void reader.cancel()
  }, PACE_WINDOW_MS)
  return {
    check() {
      if (slow) throw new Problem('request_timeout', 'The client sent the request body too slowly. Try again.')
    },
    end: () => clearInterval(timer),
  }
}

// The first piece of a buffer: an announced length costs nothing before as many bytes have arrived.
const FIRST_BYTES = 64 * 1024

/** A buffer that takes the announced length in one piece as soon as it is more than a small one; without, it doubles. */
function growing(capacity: number) {
  let buffer = uninitialized(Math.min(capacity, FIRST_BYTES))
  let used = 0
  return {
    length: () => used,
    append(chunk: Uint8Array) {
      if (used + chunk.length > buffer.length) {
        const larger = uninitialized(Math.max(used + chunk.length, buffer.length * 2, capacity))
        larger.set(buffer.subarray(0, used))
        buffer = larger
      }
      buffer.set(chunk, used)
      used += chunk.length
    },
    bytes: () => buffer.subarray(0, used),
  }
}

/** Not zeroed, which costs a tenth of reading a large body (Bun 1.4.5); only what has been written may leave the buffer. */
function uninitialized(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  let left = DRAIN_BYTES
  const timer = setTimeout(() => {
    left = 0
    void reader.cancel()
  }, DRAIN_MS)
  try {
    while (left > 0) {
      const { done, value } = await reader.read()
      if (done) return
      left -= value.length
    }
    await reader.cancel()
  } catch {
    // The client has disconnected, so nothing reads the response.
  } finally {
    clearTimeout(timer)
  }
}
