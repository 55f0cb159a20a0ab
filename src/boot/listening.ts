/** A port in use is reported in one line: before anything is opened, and at the moment at which the runtime listens. */
import { connect } from 'node:net'
import process from 'node:process'
import { exitWith } from './exit.ts'

type Address = { host: string; port: number }

// Connecting to an address of this machine succeeds or fails at once.
const CONNECT_MS = 500

/** Ends the process if another one answers there. Only connects: a port opened as a test would accept connections. */
export async function requirePort({ host, port }: Address): Promise<void> {
  const { promise: answered, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ host, port, timeout: CONNECT_MS })
  socket.once('connect', () => resolve(true))
  for (const event of ['error', 'timeout']) socket.once(event, () => resolve(false))
  const isInUse = await answered
  socket.destroy()
  if (isInUse) exitWith(inUse({ host, port }))
}

/**
 * Calls `begin` once the service listens. The runtime listens right after the main module has run, so call this last.
 *
 * Bun (1.4.5) listens in code of its own, before the next turn of the event loop, and what it throws reaches only the
 * process (EADDRINUSE, EADDRNOTAVAIL, EINVAL). Deno (2.9.6) listens at the same moment, and reports failures by itself.
 */
export function whenListening(address: Address, begin: () => Promise<void>): void {
  const fail = (error: NodeJS.ErrnoException) => {
    if (error.syscall !== 'listen') exitWith(`The service cannot start: ${error.stack}`)
    if (error.code === 'EADDRINUSE') exitWith(inUse(address))
    exitWith(`PORT: ${address.port} on ${address.host} cannot be listened on: ${error.message}`)
  }
  process.once('uncaughtException', fail)
  setImmediate(() => {
    process.off('uncaughtException', fail)
    void begin()
  })
}

function inUse({ host, port }: Address): string {
  return `PORT: ${port} on ${host} is in use; set PORT to another`
}
