/** The data folder of the embedded default: its lock, for one process at a time, and its persistent secrets. */
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export type DataDir = {
  /** Absolute. */
  path: string
  /** The secret of this name, generated at random on first use. */
  secret(name: string): Promise<string>
  close(): void
}

/**
 * Opens the folder, creating it, and locks it until `close` or the end of the process, however it ends.
 * @throws Error when another process has it: PGlite does not notice and silently loses rows (0.5.14)
 */
async function openDataDir(folder: string): Promise<DataDir> {
  const path = resolve(folder)
  await mkdir(path, { recursive: true, mode: 0o700 })
  const unlock = lock(path)
  return {
    path,
    async secret(name) {
      const file = join(path, `${name}.secret`)
      try {
        await writeFile(file, randomBytes(32).toString('hex'), { flag: 'wx', mode: 0o600 })
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
      }
      return readFile(file, 'utf8')
    },
    close: unlock,
  }
}

/** A function that opens the folder at its first call, and has `closers` close it. */
export function openDataDirOnce(folder: string, closers: (() => void)[]): () => Promise<DataDir> {
  let opened: DataDir | undefined
  return async () => {
    if (opened === undefined) {
      opened = await openDataDir(folder)
      closers.push(opened.close)
    }
    return opened
  }
}

/** Locks through SQLite, since Node's API has no file locks: the kernel releases the lock after a crash. */
function lock(path: string): () => void {
  const database = new DatabaseSync(join(path, 'lock.sqlite'))
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    throw new Error(`DATA_DIR ${path} is in use by another process: stop that one, or set another DATA_DIR`, { cause })
  }
  return () => database.close()
}
