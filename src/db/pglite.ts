/** PGlite (Postgres in this process), for the embedded default. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Starts PGlite on a folder, reachable for postgres.js over a Unix socket. The package is loaded only when it is used.
 * Returns the socket's path for `connect`, and a function that stops it.
 */
export async function startPGlite(dataDir: string): Promise<{ socket: string; stop: () => Promise<void> }> {
  const { PGlite, PGLiteSocketServer } = await loadPGlite()
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

async function loadPGlite() {
  try {
    return { ...(await import('@electric-sql/pglite')), ...(await import('@electric-sql/pglite-socket')) }
  } catch (cause) {
    throw new Error('DATABASE_URL is not set, and PGlite is not installed (the image has none): set DATABASE_URL', {
      cause,
    })
  }
}

const SOCKET = '.s.PGSQL.5432'
// The kernel's limit without the terminating zero byte (unix(7)).
const LONGEST_SOCKET_PATH = 107

/**
 * An empty folder beside the data, so that a killed process leaves nothing astray; in the temporary folder if its path
 * is too long.
 */
async function socketFolder(dataDir: string): Promise<string> {
  const folder = `${dataDir}-socket`
  if (Buffer.byteLength(join(folder, SOCKET)) > LONGEST_SOCKET_PATH) return mkdtemp(join(tmpdir(), 'media-service-'))
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { mode: 0o700 })
  return folder
}
