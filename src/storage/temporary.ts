/** Temporary files for bytes that wait to be sent to the store: unlinked, and within a budget. */
import { createHash, randomUUID } from 'node:crypto'
import { type FileHandle, open, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type Budget, createBudget } from '../budget.ts'
import { Problem } from '../problem.ts'

export type TemporaryFile = {
  /** Bytes written so far. */
  readonly size: number
  /** MD5 of the bytes written so far, in base64. */
  readonly md5: string
  append(bytes: Uint8Array): Promise<void>
  /** Reads the whole file from its beginning. */
  read(): Readable
  /** Closes the file and releases its room. */
  close(): Promise<void>
}

export type TemporaryFiles = Pick<Budget, 'contended' | 'usage'> & {
  /** In bytes: the requested limit, or less if the folder's file system is smaller. */
  readonly limit: number
  /**
   * Waits for room, see `Budget.reserve`. Every call, including those of the file, throws Problem `overloaded` if the
   * folder cannot be written to, for example because other programs have filled it.
   * @param most largest size of the file, in bytes
   */
  create(caller: string, most: number, signal: AbortSignal): Promise<TemporaryFile>
}

// The rest is left for other files in the folder.
const SHARE_OF_FOLDER = 7 / 8
const READ_BYTES = 256 * 1024

/** @param limit of all files together, in bytes */
export async function openTemporaryFiles(limit: number, folder = tmpdir()): Promise<TemporaryFiles> {
  const { blocks, bsize } = await statfs(folder)
  const bounded = Math.min(limit, Math.floor(blocks * bsize * SHARE_OF_FOLDER))
  const budget = createBudget(bounded)
  return {
    limit: bounded,
    contended: budget.contended,
    usage: budget.usage,
    async create(caller, most, signal) {
      const release = await budget.reserve(caller, most, () => signal)
      try {
        return openFile(await nameless(folder), release)
      } catch (error) {
        release()
        throw full(error)
      }
    },
  }
}

/**
 * A file without a name: the kernel frees it when the process ends, however it ends, so nothing has to be cleaned up.
 */
async function nameless(folder: string): Promise<FileHandle> {
  const path = join(folder, `media-service-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600)
  await rm(path)
  return file
}

function openFile(file: FileHandle, release: () => void): TemporaryFile {
  let size = 0
  const hash = createHash('md5')
  return {
    get size() {
      return size
    },
    get md5() {
      return hash.copy().digest('base64')
    },
    async append(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) {
          const { bytesWritten } = await file.write(bytes, done, bytes.length - done, size)
          done += bytesWritten
          size += bytesWritten
        }
        hash.update(bytes)
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
  return new Problem('overloaded', 'The service has no temporary room for the upload. Try again.', { cause })
}
