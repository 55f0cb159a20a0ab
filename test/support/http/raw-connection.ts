import { once } from 'node:events'
import { connect } from 'node:net'

export type RawAnswer = { status: number; headers: Headers; body: string }

export type RawConnection = {
  /** Resolves when the bytes are with the kernel; rejects when the other side has gone away. */
  send(data: string | Uint8Array): Promise<void>
  /** Reads one answer, which is as long as its Content-Length says. Nothing is read before this is called. */
  answer(): Promise<RawAnswer>
  /** Goes away without a word. */
  destroy(): void
}

/** A connection to the service on which a test decides about every byte. */
export async function openRawConnection(baseUrl: string): Promise<RawConnection> {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect({ host: hostname, port: Number(port) })
  await once(socket, 'connect')
  socket.pause()
  let broken: Error | undefined
  socket.on('error', (error) => {
    broken = error
  })
  return {
    async send(data) {
      await new Promise<void>((resolve, reject) => {
        socket.write(data, (error) => (error ? reject(error) : resolve()))
      })
    },
    async answer() {
      let received = Buffer.alloc(0)
      for await (const chunk of socket) {
        received = Buffer.concat([received, chunk])
        const answer = parse(received)
        if (answer !== undefined) return answer
      }
      throw new Error(`the connection ended before the answer did: ${broken ?? received.toString()}`)
    },
    destroy: () => socket.destroy(),
  }
}

/** The head of a request to the service, with the lines given. */
export function requestHead(line: string, headers: Record<string, string>): string {
  const lines = Object.entries({ host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}`)
  return [`${line} HTTP/1.1`, ...lines, '', ''].join('\r\n')
}

function parse(received: Buffer): RawAnswer | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n')
  const headers = new Headers(
    lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
  if (headers.has('transfer-encoding')) throw new Error(`an answer without a length: ${statusLine}`)
  const body = received.subarray(end + 4)
  if (body.length < Number(headers.get('content-length') ?? 0)) return undefined
  return { status: Number(statusLine.split(' ')[1]), headers, body: body.toString() }
}
