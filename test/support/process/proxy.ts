import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from './port.ts'

/** A TCP proxy that breaks as networks and servers do. A new one lets everything through. */
export type TcpProxy = {
  /** The address of what is behind it, with the proxy's own port in its place. */
  readonly url: string
  /** New connections work. Those that a blackhole has swallowed stay dead. */
  pass(): Promise<void>
  /** As when the process behind it is gone: connections break, new ones are refused. */
  refuse(): Promise<void>
  /** As when a packet filter drops everything: connections stay open, now and new ones, and nothing passes any more. */
  blackhole(): Promise<void>
  /** As when an address moves to a machine that is not ready: what is open stays open and dead, new ones are refused. */
  moveAway(): Promise<void>
  /** Breaks every connection there is; new ones work. */
  cut(): void
  /** As when an address is given to another server: new connections go there, and those that are open stay. */
  leadTo(target: string): void
  /** Holds back everything that comes from behind it for so long. */
  delay(milliseconds: number): void
  /** How many bytes of clients have come in so far. */
  received(): number
  /** How many bytes have come from behind it so far. */
  answered(): number
  /** `refuse` once so many bytes more have come in; resolves then. */
  refuseAfter(bytes: number): Promise<void>
  /** Requests arrive from now on, and no answer ever comes back on the connections there are. */
  swallowAnswers(): void
  /** The same for a connection once its client sends these words, until `pass`: what they ask for happens. */
  swallowAnswersTo(words: string): void
  close(): Promise<void>
}

type Connection = { client: Socket; behind: Socket; state: 'open' | 'deaf' | 'dead' }

/** @param target the URL of a service on this machine; its host and port are what is connected to */
export async function startProxy(target: string): Promise<TcpProxy> {
  let { hostname, port } = new URL(target)
  const own = await freePort()
  const connections = new Set<Connection>()
  let arrivals: Connection['state'] = 'open'
  let lag = 0
  let received = 0
  let answered = 0
  let limit: { bytes: number; reached: () => void } | undefined
  let deafening: string | undefined
  let server: Server | undefined

  const url = new URL(target)
  url.port = String(own)

  function accept(client: Socket): void {
    const behind = connect({ host: hostname, port: Number(port) })
    const connection: Connection = { client, behind, state: arrivals }
    connections.add(connection)
    const destroy = () => {
      // What is dead says nothing of its end either: neither side may learn from the other's.
      if (connection.state === 'dead') return
      end(connection)
    }
    client.on('data', (data) => {
      received += data.length
      if (deafening !== undefined && connection.state === 'open' && data.includes(deafening)) connection.state = 'deaf'
      if (limit !== undefined && received >= limit.bytes) {
        limit.reached()
        limit = undefined
        return
      }
      if (connection.state === 'dead' || behind.write(data)) return
      // As a wire, it holds nothing back that a cut would lose: who sends has to wait.
      client.pause()
      behind.once('drain', () => client.resume())
    })
    behind.on('data', (data) => {
      answered += data.length
      const forward = () => connection.state === 'open' && client.write(data)
      if (lag > 0) setTimeout(forward, lag)
      else forward()
    })
    client.on('close', destroy).on('error', destroy)
    behind.on('close', destroy).on('error', destroy)
  }

  function end(connection: Connection): void {
    connections.delete(connection)
    connection.client.destroy()
    connection.behind.destroy()
  }

  async function listen(): Promise<void> {
    if (server !== undefined) return
    server = createServer(accept).listen(own, '127.0.0.1')
    await once(server, 'listening')
  }

  /** Connections that are open do not end by this. */
  async function stopListening(): Promise<void> {
    server?.close()
    server = undefined
  }

  function mark(state: Connection['state']): void {
    for (const connection of connections) if (connection.state !== 'dead') connection.state = state
  }

  function cut(): void {
    for (const connection of connections) end(connection)
  }

  async function refuse(): Promise<void> {
    await stopListening()
    cut()
  }

  await listen()
  return {
    // Without the slash that URL adds where there is no path.
    url: target.endsWith('/') ? url.href : url.href.replace(/\/$/, ''),
    async pass() {
      arrivals = 'open'
      deafening = undefined
      lag = 0
      await listen()
    },
    refuse,
    received: () => received,
    answered: () => answered,
    refuseAfter(bytes) {
      const { promise, resolve } = Promise.withResolvers<void>()
      limit = { bytes: received + bytes, reached: () => resolve(refuse()) }
      return promise
    },
    async blackhole() {
      mark('dead')
      arrivals = 'dead'
    },
    async moveAway() {
      await stopListening()
      mark('dead')
    },
    cut,
    leadTo(to) {
      ;({ hostname, port } = new URL(to))
    },
    delay(milliseconds) {
      lag = milliseconds
    },
    swallowAnswers() {
      mark('deaf')
      arrivals = 'deaf'
    },
    swallowAnswersTo(words) {
      deafening = words
    },
    async close() {
      await stopListening()
      cut()
    },
  }
}
