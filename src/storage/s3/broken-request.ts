/** A PUT that breaks off: announces a body, sends half of it, and ends the connection as a dying process does. */
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectSecurely } from 'node:tls'

// A store that has not answered by then waits for the rest of the body.
const ANSWER_MS = 3000

/**
 * Resolves when the store has closed the connection, or has not for a while. Rejects when it cannot be reached.
 * @param url signed
 */
export function sendBrokenPut(url: string, headers: Record<string, string>, body: Uint8Array): Promise<void> {
  const { protocol, hostname, port, host, pathname, search } = new URL(url)
  const head = [
    `PUT ${pathname}${search} HTTP/1.1`,
    `host: ${host}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${body.length}`,
    'connection: close',
  ]
  // An IPv6 address has brackets in a URL only.
  const where = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (protocol === 'https:' ? 443 : 80) }
  return new Promise((resolve, reject) => {
    let connected = false
    const send = () => {
      connected = true
      socket.write(`${head.join('\r\n')}\r\n\r\n`)
      // A FIN, not a reset: stores tell these two apart.
      socket.end(body.subarray(0, body.length / 2))
    }
    const socket: Socket =
      protocol === 'https:' ? connectSecurely({ ...where, servername: where.host }, send) : connectPlain(where, send)
    socket.setTimeout(ANSWER_MS, () => socket.destroy())
    socket.resume()
    socket.on('error', (error) => (connected ? resolve() : reject(error)))
    socket.on('close', () => (connected ? resolve() : reject(new Error(`no connection to ${host}`))))
  })
}
