/** The shared store behind a proxy that makes it a worse one: without some calls, or keeping half a body as a whole. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { services } from './shared.ts'

type Asked = { method: string; path: string; headers: Map<string, string> }

export type Alteration = {
  /** The status and XML of an answer that the proxy gives itself; undefined for the store's own answer. */
  answer?: (asked: Asked) => { status: number; body: string } | undefined
  /** Another target and its headers, for instance without the signature. */
  rewrite?: (asked: Asked) => Asked
  /** Whether a body whose sender has gone is filled up with zeros, as versitygw 1.8.0 does. */
  fills?: (asked: Asked) => boolean
}

/** As Google Cloud Storage. */
export const withoutDeleteObjects: NonNullable<Alteration['answer']> = ({ method, path }) =>
  method === 'POST' && /[?&]delete/.test(path)
    ? { status: 501, body: '<Error><Code>NotImplemented</Code></Error>' }
    : undefined

/** Lists both parts that the probe sends in half. */
export const keepsHalves: NonNullable<Alteration['answer']> = ({ method, path }) =>
  method === 'GET' && path.includes('/broken?') && path.includes('uploadId=')
    ? { status: 200, body: `<ListPartsResult>${[1, 2].map(halfPart).join('')}</ListPartsResult>` }
    : undefined

const halfPart = (number: number) => `<Part><PartNumber>${number}</PartNumber><ETag>"1"</ETag><Size>65536</Size></Part>`

export type AlteredStore = {
  endpoint: string
  /** The keys of the multipart uploads that were begun. */
  begun: ReadonlySet<string>
  stop: () => Promise<void>
}

/** Of `/BUCKET/KEY?…`. */
const keyOf = (path: string) => path.split('?', 1)[0]?.split('/').slice(2).join('/') ?? ''

/** One connection for each request, so that requests are told apart by the connection. */
export async function startAlteredStore(alteration: Alteration): Promise<AlteredStore> {
  const { hostname, port } = new URL((await services()).s3.endpoint)
  const sockets = new Set<Socket>()
  const begun = new Set<string>()
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const keep = (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => socket.destroy())
    }
    keep(client)
    relay(client, () => {
      const store = connect(Number(port), hostname)
      keep(store)
      return store
    }).catch(() => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    begun,
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }

  async function relay(client: Socket, open: () => Socket): Promise<void> {
    const { asked, body, missing } = await receive(client)
    if (asked.method === 'POST' && /[?&]uploads/.test(asked.path)) begun.add(keyOf(asked.path))
    const own = alteration.answer?.(asked)
    if (own !== undefined) {
      const head = `HTTP/1.1 ${own.status} Altered\r\ncontent-type: application/xml\r\nconnection: close`
      client.end(`${head}\r\ncontent-length: ${Buffer.byteLength(own.body)}\r\n\r\n${own.body}`)
      return
    }
    const { method, path, headers } = alteration.rewrite?.(asked) ?? asked
    const lines = [...headers].filter(([name]) => name !== 'connection').map(([name, value]) => `${name}: ${value}`)
    const store = open()
    store.write(`${[`${method} ${path} HTTP/1.1`, ...lines, 'connection: close'].join('\r\n')}\r\n\r\n`)
    store.write(body)
    if (missing > 0 && alteration.fills?.(asked)) store.write(new Uint8Array(missing))
    else if (missing > 0) store.end()
    store.pipe(client)
  }
}

/** `missing`: how many bytes of the announced body did not arrive. */
async function receive(client: Socket): Promise<{ asked: Asked; body: Buffer; missing: number }> {
  let all = Buffer.alloc(0)
  let asked: Asked | undefined
  let start = 0
  const missing = () => Number(asked?.headers.get('content-length') ?? 0) - (all.length - start)
  for await (const piece of client.iterator({ destroyOnReturn: false })) {
    all = Buffer.concat([all, piece])
    const end = asked === undefined ? all.indexOf('\r\n\r\n') : -1
    if (end !== -1) {
      const [first = '', ...lines] = all.subarray(0, end).toString('latin1').split('\r\n')
      const [method = '', path = ''] = first.split(' ')
      const headers = new Map(lines.map((line) => [line.split(':', 1)[0]?.toLowerCase() ?? '', fieldValue(line)]))
      asked = { method, path, headers }
      start = end + 4
    }
    if (asked !== undefined && missing() <= 0) break
  }
  if (asked === undefined) throw new Error('no request')
  return { asked, body: all.subarray(start), missing: missing() }
}

function fieldValue(line: string): string {
  return line.slice(line.indexOf(':') + 1).trim()
}
