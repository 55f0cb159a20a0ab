/** Reading request bodies within limits, and not reading them without leaving the client in the dark. */
import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { Problem } from '../problem.ts'

const JSON_BYTES = 64 * 1024

// Many clients read the answer only after they have sent everything, and see a broken pipe when the connection
// closes before (RFC 9112, section 9.6). So what is left of a refused body is taken in, up to these bounds.
const DRAIN_BYTES = 64 * 1024 * 1024
const DRAIN_MS = 5000

/** Takes in what no handler has read of the body, so that the client gets to read the answer. */
export function drainUnread(): MiddlewareHandler {
  return async function drainUnread(c, next) {
    await next()
    const { body } = c.req.raw
    if (body === null || c.req.raw.bodyUsed || body.locked) return
    await drain(body.getReader())
  }
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
    if (!/^application\/json\s*(;|$)/i.test(c.req.header('content-type') ?? ''))
      throw new Problem('content_type_unsupported', 'The request has to be application/json.')
    return limit(c, next)
  }
}

/**
 * The whole body, in one buffer. `tooLarge` makes the error for more than `limit` bytes: thrown before anything is
 * read when Content-Length says so, else as soon as it is known. A body that breaks off throws Problem
 * `request_invalid`.
 */
export async function readBody(request: Request, limit: number, tooLarge: () => Problem): Promise<Uint8Array> {
  const announced = request.headers.get('content-length')
  const length = announced === null ? undefined : Number(announced)
  if (length !== undefined && length > limit) throw tooLarge()
  if (request.body === null) return new Uint8Array()
  const reader = request.body.getReader()
  const buffer = growing(length ?? 0)
  for (;;) {
    const { done, value } = await next(reader)
    if (done) break
    if (buffer.length() + value.length > limit) {
      await drain(reader)
      throw tooLarge()
    }
    buffer.append(value)
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
  return new Problem('request_invalid', 'The request body broke off.', { cause })
}

/** One buffer that doubles when it is full; of exactly the announced size where there was one. */
function growing(capacity: number) {
  let buffer = new Uint8Array(capacity)
  let used = 0
  return {
    length: () => used,
    append(chunk: Uint8Array) {
      if (used + chunk.length > buffer.length) {
        const larger = new Uint8Array(Math.max(used + chunk.length, buffer.length * 2))
        larger.set(buffer.subarray(0, used))
        buffer = larger
      }
      buffer.set(chunk, used)
      used += chunk.length
    },
    bytes: () => buffer.subarray(0, used),
  }
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
    // The client is gone: nobody is left to read the answer.
  } finally {
    clearTimeout(timer)
  }
}
