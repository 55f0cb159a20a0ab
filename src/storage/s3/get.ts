/** GET and HEAD requests to the store without the SDK, which takes half a millisecond of CPU per call. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { AGENT, closeIdle, isLate } from './client.ts'

export type Get = {
  method: 'GET' | 'HEAD'
  /** Signed URL. */
  url: string
  headers: Record<string, string>
  /** More than this of a body is not read: the connection is closed. */
  maxBytes: number
  signal: AbortSignal
}

export type GetAnswer = { status: number; headers: IncomingMessage['headers']; bytes: Uint8Array }

/**
 * Sends GET and HEAD over keep-alive connections. Not with `fetch`, which would decompress objects whose uploader set a
 * Content-Encoding: 1 MiB may become 1 GiB.
 */
export function createSendGet() {
  const http = new HttpAgent(AGENT)
  const https = new HttpsAgent(AGENT)

  async function once(get: Get): Promise<GetAnswer> {
    try {
      return await exchange(get, { http, https })
    } catch (error) {
      if (isLate(error)) closeIdle(http, https)
      throw error
    }
  }

  return {
    async send(get: Get): Promise<GetAnswer> {
      try {
        return await once(get)
      } catch (error) {
        // The store may have closed an idle connection at the moment it was reused.
        if (get.signal.aborted || error instanceof TooMany) throw error
        return once(get)
      }
    },
    close() {
      http.destroy()
      https.destroy()
    },
  }
}

/** A store that does not know ranges sends the whole object, whatever its size. */
class TooMany extends Error {}

function exchange({ method, url, headers, maxBytes, signal }: Get, agents: { http: HttpAgent; https: HttpsAgent }) {
  return new Promise<GetAnswer>((resolve, reject) => {
    const take = (answer: IncomingMessage) => {
      const pieces: Buffer[] = []
      let left = maxBytes
      answer.on('data', (piece: Buffer) => {
        left -= piece.length
        if (left >= 0) return pieces.push(piece)
        reject(new TooMany(`${answer.statusCode} with more than ${maxBytes} bytes`))
        // Destroyed without the error, which Bun 1.4 would throw as uncaught.
        return answer.destroy()
      })
      answer.on('end', () => {
        const [only = Buffer.alloc(0), ...more] = pieces
        const bytes = more.length === 0 ? only : Buffer.concat(pieces)
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, bytes })
      })
      answer.on('error', reject)
    }
    const request = url.startsWith('https:')
      ? httpsRequest(url, { method, headers, signal, agent: agents.https }, take)
      : httpRequest(url, { method, headers, signal, agent: agents.http }, take)
    request.on('error', reject)
    request.end()
  })
}
