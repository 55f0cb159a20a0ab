/** Postgres in this process, for the embedded default. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Starts PGlite on a folder and lets postgres.js reach it over a Unix socket. Loaded only when it is used.
 * Returns the socket's path for `connect`, and what stops it.
 */
export async function startPGlite(dataDir: string): Promise<{ socket: string; stop: () => Promise<void> }> {
  const { PGlite } = await import('@electric-sql/pglite')
  const { PGLiteSocketServer } = await import('@electric-sql/pglite-socket')
  const db = await PGlite.create(dataDir)
  const folder = await socketFolder(dataDir)
  const socket = join(folder, SOCKET)
  const server = new PGLiteSocketServer({ db, path: socket })
  await server.start()
  return {
    socket,
    async stop() {
      await server.stop()
      await db.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const SOCKET = '.s.PGSQL.5432'
// The kernel's limit, of which the last byte ends it (unix(7)).
const LONGEST_SOCKET_PATH = 107

/** Empty, and beside the data, where a killed process leaves nothing astray; but a socket's path may be too long there. */
async function socketFolder(dataDir: string): Promise<string> {
  const folder = `${dataDir}-socket`
  if (Buffer.byteLength(join(folder, SOCKET)) > LONGEST_SOCKET_PATH) return mkdtemp(join(tmpdir(), 'media-service-'))
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { mode: 0o700 })
  return folder
}
