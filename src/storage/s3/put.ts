/** Bodies on their way to the store. */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { text } from 'node:stream/consumers'

export type Put = {
  url: string
  headers: Record<string, string>
  bytes: Uint8Array
  signal: AbortSignal
  /** Whether it must not use a connection that was idle. */
  fresh: boolean
}

/** What the store answered. */
export type PutAnswer = { ok: boolean; status: number; text: string }

// `fetch` is cheaper to call, but makes a copy of the whole body (Bun 1.4.5; two on Deno 2.9.6), and with a stream as
// body Deno leaves Content-Length out, which S3 demands.
const LARGE_BYTES = 8 * 1024 * 1024
const PIECE_BYTES = 256 * 1024

/**
 * Sends a PUT; a large body in pieces, so that nothing holds more of it than the caller does. So does one that needs a
 * connection of its own: Deno's `fetch` (2.9.6) always takes an idle one, of which each may cost a PUT its deadline.
 */
export function sendPut(put: Put): Promise<PutAnswer> {
  return put.fresh || put.bytes.length >= LARGE_BYTES ? sendInPieces(put) : sendAtOnce(put)
}

async function sendAtOnce({ url, headers, bytes, signal }: Put): Promise<PutAnswer> {
  const answer = await fetch(url, {
    method: 'PUT',
    headers,
    // A view on a plain ArrayBuffer: bodies are never in shared memory.
    body: bytes as Uint8Array<ArrayBuffer>,
    signal,
  })
  return { ok: answer.ok, status: answer.status, text: await answer.text() }
}

/** Over a connection of its own, which is little beside the body. */
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
    // Ends early where the caller has taken the bytes back: then nobody waits for this any more.
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
