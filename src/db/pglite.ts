/** Postgres in this process, for the embedded default. */
import { mkdtemp, rm } from 'node:fs/promises'
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
  // Not under DATA_DIR: a socket's path may have 107 bytes at most.
  const folder = await mkdtemp(join(tmpdir(), 'media-service-'))
  const socket = join(folder, '.s.PGSQL.5432')
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
