/** The moment at which the runtime listens, and one clear line when it cannot. */
import process from 'node:process'
import { exitWith } from './exit.ts'

/**
 * Calls `begin` once the service listens. The runtime listens right after the main module has run, so call this last.
 *
 * Bun (1.4.5) listens in code of its own, before the next turn of the event loop, and what it throws reaches only the
 * process (tested here: EADDRINUSE, EADDRNOTAVAIL, EINVAL). Opening the port beforehand to test it would accept
 * connections that nobody answers. Deno reports an address in use by itself, and
 * listens at the same moment (2.9.6).
 */
export function whenListening({ host, port }: { host: string; port: number }, begin: () => Promise<void>): void {
  const fail = (error: NodeJS.ErrnoException) => {
    if (error.syscall !== 'listen') return exitWith(`The service cannot start: ${error.stack}`)
    const reason =
      error.code === 'EADDRINUSE' ? 'is in use; set PORT to another' : `cannot be listened on: ${error.message}`
    exitWith(`PORT: ${port} on ${host} ${reason}`)
  }
  process.once('uncaughtException', fail)
  setImmediate(() => {
    process.off('uncaughtException', fail)
    void begin()
  })
}
