import { connect, type Socket } from 'node:net'

export type Answer = { status: number; head: string; text: string; milliseconds: number }

/** Where a client is: an address of this machine's own, 127.0.0.0/8, or one that a proxy in front has written down. */
export type From = { address?: string; forwardedFor?: string }

/** One request from this address, with a body of this size, if any; rejects after 10 seconds. */
export async function ask(url: string, from: From, path: string, bodyBytes?: number): Promise<Answer> {
  const begin = performance.now()
  const socket = open(url, from)
  const timer = setTimeout(() => socket.destroy(new Error(`${path}: no answer within 10 seconds`)), 10_000)
  socket.write(head(path, from, bodyBytes) + 'x'.repeat(bodyBytes ?? 0))
  let raw = ''
  for await (const piece of socket) raw += piece
  clearTimeout(timer)
  const [top = '', text = ''] = raw.split('\r\n\r\n')
  return { status: statusOf(raw), head: top, text, milliseconds: performance.now() - begin }
}

export type SlowClients = {
  /** The statuses that some of them have got so far. */
  statuses(): number[]
  /** How many have a connection. */
  connected(): number
  end(): void
}

/** Clients that send the beginning of something and then a letter each second. */
export function startSlowClients(url: string, begins: { from: From; text: string }[]): SlowClients {
  const answers: number[] = []
  const sockets = begins.map(({ from, text }) => {
    const socket = open(url, from)
    socket.on('error', () => {})
    socket.once('data', (piece) => answers.push(statusOf(String(piece))))
    socket.write(text)
    return socket
  })
  const drip = setInterval(() => {
    for (const [at, socket] of sockets.entries())
      if (begins[at]?.text !== '' && socket.readyState === 'open') socket.write('x')
  }, 1000)
  return {
    statuses: () => answers,
    connected: () => sockets.filter(({ readyState }) => readyState === 'open').length,
    end() {
      clearInterval(drip)
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** The beginning of a request whose body never ends. */
export function slowBody(path: string, from: From): { from: From; text: string } {
  return { from, text: head(path, from, 1000) }
}

function open(url: string, { address = '127.0.0.1' }: From): Socket {
  const { hostname, port } = new URL(url)
  return connect({ host: hostname, port: Number(port), localAddress: address })
}

function head(path: string, { forwardedFor }: From, bodyBytes: number | undefined): string {
  return [
    `${bodyBytes === undefined ? 'GET' : 'POST'} ${path} HTTP/1.1`,
    'Host: media.test',
    'Connection: close',
    ...(bodyBytes === undefined ? [] : [`Content-Length: ${bodyBytes}`]),
    ...(forwardedFor === undefined ? [] : [`X-Forwarded-For: ${forwardedFor}`]),
    '\r\n',
  ].join('\r\n')
}

function statusOf(raw: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(raw)?.[1])
}
