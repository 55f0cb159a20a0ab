/** Bytes that wait in the temporary folder for their way to the store: in files without a name, within a budget. */
import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type Budget, createBudget } from '../budget.ts'
import { Problem } from '../problem.ts'

export type TemporaryFile = {
  /** Bytes written so far. */
  readonly size: number
  append(bytes: Uint8Array): Promise<void>
  /** All of it, from its beginning. */
  read(): Readable
  /** Gives its place back. */
  close(): Promise<void>
}

export type TemporaryFiles = Pick<Budget, 'contended' | 'usage'> & {
  /** In bytes: what was asked for, or less where the folder's file system is smaller. */
  readonly limit: number
  /**
   * Waits for room, see `Budget.reserve`. Every call, also of the file's own, throws Problem `overloaded` where the
   * folder can't be written to, as when others have filled it.
   * @param most bytes that it will have
   */
  create(caller: string, most: number, signal: AbortSignal): Promise<TemporaryFile>
}

// What else may be in the folder.
const SHARE_OF_FOLDER = 7 / 8
const READ_BYTES = 256 * 1024

/** @param limit in bytes, of all files at once */
export async function openTemporaryFiles(limit: number, folder = tmpdir()): Promise<TemporaryFiles> {
  const { blocks, bsize } = await statfs(folder)
  const bounded = Math.min(limit, Math.floor(blocks * bsize * SHARE_OF_FOLDER))
  const budget = createBudget(bounded)
  return {
    limit: bounded,
    contended: budget.contended,
    usage: budget.usage,
    async create(caller, most, signal) {
      const release = await budget.reserve(caller, most, signal)
      try {
        return openFile(await nameless(folder), release)
      } catch (error) {
        release()
        throw full(error)
      }
    },
  }
}

/** The kernel frees what it holds with the process, however that ends: nothing is left for anybody to remove. */
async function nameless(folder: string): Promise<FileHandle> {
  const path = join(folder, `media-service-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600)
  await rm(path)
  return file
}

function openFile(file: FileHandle, release: () => void): TemporaryFile {
  let size = 0
  return {
    get size() {
      return size
    },
    async append(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) {
          const { bytesWritten } = await file.write(bytes, done, bytes.length - done, size)
          done += bytesWritten
          size += bytesWritten
        }
      } catch (error) {
        throw full(error)
      }
    },
    read: () => Readable.from(piecesOf(file, size), { objectMode: false }),
    async close() {
      await file.close().finally(release)
    },
  }
}

async function* piecesOf(file: FileHandle, size: number): AsyncGenerator<Uint8Array> {
  for (let position = 0; position < size; ) {
    const length = Math.min(READ_BYTES, size - position)
    const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, position)
    if (bytesRead === 0) throw new Error(`a temporary file ends at ${position} of ${size} bytes`)
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

function full(cause: unknown): Problem {
  return new Problem('overloaded', 'There is no room for the bytes on their way. Try again.', { cause })
}
