/** Reads objects of the disk store: head, beginning, range, stream, and the listing of keys. */
import { createHash } from 'node:crypto'
import { openAsBlob } from 'node:fs'
import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import type { ListedObject, Storage, StoredHead } from '../storage.ts'
import { ifMissing, reach, readFrom } from './files.ts'
import { type Folders, objectPath, typePath } from './folders.ts'

export function createReading(folders: Folders): Pick<Storage, 'head' | 'peek' | 'read' | 'list'> {
  async function stored(key: string, size: number): Promise<StoredHead> {
    const contentType = await readFile(typePath(folders, key), 'utf8')
    return { size, contentType, etag: etagOf(key), contentEncoding: null, ordinaryClass: true }
  }

  return {
    async head(key, { signal } = {}) {
      return reach(async () => {
        const file = await stat(objectPath(folders, key)).catch(ifMissing)
        return file === null ? null : stored(key, file.size)
      }, signal)
    },

    async peek(key, { length, signal }) {
      return reach(async () => {
        const file = await open(objectPath(folders, key), 'r').catch(ifMissing)
        if (file === null) return null
        try {
          const { size } = await file.stat()
          const bytes = await readFrom(file, 0, Math.min(length, size))
          return { ...(await stored(key, size)), bytes }
        } finally {
          await file.close()
        }
      }, signal)
    },

    async read(key, { start, length, signal }) {
      return reach(async () => {
        const file = await open(objectPath(folders, key), 'r')
        try {
          return await readFrom(file, start, length)
        } finally {
          await file.close()
        }
      }, signal)
    },

    async list({ prefix, startAfter = '', limit, signal }) {
      return reach(async () => {
        const found: ListedObject[] = []
        for await (const key of keysInOrder(folders.objects, '', prefix, startAfter)) {
          // Not `objectPath`, which rejects foreign names: others may have put files here, and every store lists them.
          const file = await stat(join(folders.objects, key)).catch(ifMissing)
          if (file !== null) found.push({ key, size: file.size, lastModified: file.mtime })
          if (found.length === limit) break
        }
        return found
      }, signal)
    },
  }
}

/** Bytes under a key never change, so a hash of the key serves as the ETag. */
export function etagOf(key: string): string {
  return `"${createHash('sha256').update(key).digest('base64url').slice(0, 22)}"`
}

/**
 * Walks depth first, names in byte order, a folder compared as its name with `/`: the order in which S3 lists. An entry
 * that is neither file nor folder, such as a dangling link, is not an object.
 */
async function* keysInOrder(root: string, folder: string, prefix: string, startAfter: string): AsyncGenerator<string> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(ifMissing)
  const own = (entries ?? []).filter((entry) => entry.isFile() || entry.isDirectory())
  const names = own.map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : '')).sort()
  for (const name of names) {
    const isFolder = name.endsWith('/')
    if (!name.startsWith(prefix) && !(isFolder && prefix.startsWith(name))) continue
    if (!isFolder) {
      if (name > startAfter) yield name
    } else if (name > startAfter || startAfter.startsWith(name)) {
      yield* keysInOrder(root, name, prefix, startAfter)
    }
  }
}

const CHUNK_BYTES = 256 * 1024

/**
 * Bun (1.4) sends a stream without Content-Length, whatever its headers say, but reads a file's blob as it sends it; Deno
 * (2.9) would read the whole file into memory for the blob. Bun also answers the Range of a request for such a blob by
 * itself, so a request whose Range does not count gets a stream.
 */
export async function bodyOf(
  path: string,
  { start, end }: { start: number; end: number },
  { rangeIgnored }: { rangeIgnored: boolean },
): Promise<Blob | ReadableStream<Uint8Array>> {
  if (!process.versions.bun || rangeIgnored) return streamFile(path, start, end)
  return (await openAsBlob(path)).slice(start, end)
}

/** Opens the file when the first bytes are read, and closes it after the last. */
function streamFile(path: string, start: number, end: number): ReadableStream<Uint8Array> {
  let file: FileHandle | undefined
  let position = start
  return new ReadableStream({
    async pull(controller) {
      file ??= await open(path, 'r')
      const length = Math.min(CHUNK_BYTES, end - position)
      const bytes = await readFrom(file, position, length)
      position += bytes.length
      if (bytes.length > 0) controller.enqueue(bytes)
      if (position < end && bytes.length > 0) return
      await file.close()
      controller.close()
    },
    async cancel() {
      await file?.close()
    },
  })
}
