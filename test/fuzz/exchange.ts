import { connect } from 'node:net'

/** A request as bytes on the wire: a client library would repair or refuse most of what is tried here. */
export type WireRequest = {
  method: string
  target: string
  headers: [name: string, value: string][]
  body: Uint8Array
  /** `length` and `chunked` send all of the body, `cut` announces more than it sends and ends there. */
  framing: 'length' | 'chunked' | 'cut'
}

export type Answer = { status: number; headers: Headers; body: string }

// A refused body is drained for 5 s at most; nothing else may take as long.
const HANG_MS = 8000
const CHUNK_BYTES = 1000

/**
 * Sends one request on a connection of its own.
 * @returns `closed` when the connection ended without an answer
 * @throws Error when there is neither an answer nor an end in time
 */
export async function exchange(baseUrl: string, request: WireRequest): Promise<Answer | 'closed'> {
  const { hostname, port } = new URL(baseUrl)
  const socket = connect({ host: hostname, port: Number(port) })
  return new Promise<Answer | 'closed'>((resolve, reject) => {
    const end = (result: Answer | 'closed') => {
      clearTimeout(late)
      socket.destroy()
      resolve(result)
    }
    const late = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no answer within ${HANG_MS} ms`))
    }, HANG_MS)
    let received: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      const answer = readAnswer(received, request.method)
      if (answer !== undefined) end(answer)
    })
    socket.on('error', () => {})
    socket.on('close', () => end('closed'))
    socket.write(wire(request))
    if (request.framing === 'cut') socket.end()
  })
}

/** The bytes of a request; header values are sent as latin1, so that each character is the byte of its number. */
export function wire({ method, target, headers, body, framing }: WireRequest): Buffer {
  const length = framing === 'chunked' ? 'transfer-encoding: chunked' : `content-length: ${lengthOf(body, framing)}`
  const lines = [`${method} ${target} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`), length]
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return Buffer.concat([head, framing === 'chunked' ? inChunks(body) : body])
}

function lengthOf(body: Uint8Array, framing: WireRequest['framing']): number {
  return framing === 'cut' ? body.length + 100 : body.length
}

function inChunks(body: Uint8Array): Buffer {
  const pieces: (Buffer | Uint8Array)[] = []
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    const piece = body.subarray(at, at + CHUNK_BYTES)
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')])
}

/** The answer, once all of it is there; an interim one (1xx) is skipped. */
function readAnswer(received: Buffer, method: string): Answer | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n')
  const status = Number(statusLine.split(' ')[1])
  const rest = received.subarray(end + 4)
  if (status < 200) return readAnswer(rest, method)
  const headers = new Headers(
    lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
  const body = method === 'HEAD' || status === 204 || status === 304 ? '' : readBody(rest, headers)
  return body === undefined ? undefined : { status, headers, body }
}

function readBody(rest: Buffer, headers: Headers): string | undefined {
  if (headers.get('transfer-encoding') === 'chunked') return readChunks(rest)
  const length = Number(headers.get('content-length') ?? 0)
  return rest.length < length ? undefined : rest.subarray(0, length).toString()
}

function readChunks(rest: Buffer): string | undefined {
  const pieces: Buffer[] = []
  for (let at = 0; ; ) {
    const line = rest.indexOf('\r\n', at)
    if (line === -1) return undefined
    const size = Number.parseInt(rest.subarray(at, line).toString('latin1'), 16)
    if (rest.length < line + size + 4) return undefined
    if (size === 0) return Buffer.concat(pieces).toString()
    pieces.push(rest.subarray(line + 2, line + 2 + size))
    at = line + size + 4
  }
}
