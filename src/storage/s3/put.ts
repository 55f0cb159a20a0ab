/** PUT requests to the store without the SDK. */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { text } from 'node:stream/consumers'

export type Put = {
  url: string
  headers: Record<string, string>
  bytes: Uint8Array
  signal: AbortSignal
  /** Whether the PUT must not reuse an idle connection. */
  fresh: boolean
}

/** The store's answer. */
export type PutAnswer = { ok: boolean; status: number; text: string }

// Bodies from this size on are sent without `fetch`, which is cheaper to call but copies the whole body (Bun 1.4.5;
// twice on Deno 2.9.6); and with a stream as body Deno omits Content-Length, which S3 requires.
const LARGE_BYTES = 8 * 1024 * 1024
const PIECE_BYTES = 256 * 1024

/**
 * Sends a PUT. A large body is sent in pieces, so that no copy of it is held in memory. So is a body that needs a new
 * connection: Deno's `fetch` (2.9.6) always reuses an idle one, and a dead one costs the PUT its deadline.
 */
export function sendPut(put: Put): Promise<PutAnswer> {
  return put.fresh || put.bytes.length >= LARGE_BYTES ? sendInPieces(put) : sendAtOnce(put)
}

async function sendAtOnce({ url, headers, bytes, signal }: Put): Promise<PutAnswer> {
  const answer = await fetch(url, {
    method: 'PUT',
    headers,
    // The view is on a plain ArrayBuffer: bodies are never in shared memory.
    body: bytes as Uint8Array<ArrayBuffer>,
    signal,
  })
  return { ok: answer.ok, status: answer.status, text: await answer.text() }
}

/** Uses a new connection, whose cost is small compared with the body. */
function sendInPieces({ url, headers, bytes, signal }: Put): Promise<PutAnswer> {
  return new Promise((resolve, reject) => {
    const options = { method: 'PUT', headers: { ...headers, 'content-length': bytes.length }, agent: false }
    const send = url.startsWith('https:') ? httpsRequest : httpRequest
    const request = send(url, options, (answer) => {
      const status = answer.statusCode ?? 0
      text(answer).then((body) => resolve({ ok: status >= 200 && status < 300, status, text: body }), reject)
    })
    request.on('error', reject)
    const abort = () => {
      reject(signal.reason)
      request.destroy()
    }
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    let sent = 0
    // Ends early when the caller has reclaimed the buffer; it no longer waits for the answer then.
    const more = () => {
      while (sent < bytes.length) {
        const piece = bytes.subarray(sent, sent + PIECE_BYTES)
        sent += piece.length
        if (!request.write(piece)) {
          request.once('drain', more)
          return
        }
      }
      request.end()
    }
    more()
  })
}
