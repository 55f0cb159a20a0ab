/**
 * The storage port on files under a folder, for the embedded default: the same promises as S3, on one machine.
 *
 *     objects/KEY   the bytes; a file appears under its key complete and synced, or not at all
 *     types/KEY     the content type, written before the bytes so that no object is without one
 *     incoming/     files being written; those left by a crash are removed at start
 *     uploads/KEY   bytes of an incomplete tus upload; they survive a restart and are removed with their object
 */
import { createHash, randomUUID } from 'node:crypto'
import { type FileHandle, link, mkdir, open, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Problem } from '../../problem.ts'
import type { ListedObject, Storage, StoredHead } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { type Grant, readLink, signLink } from './links.ts'

/** The disk store, which serves its own links: it adds to the port what `/files/*` needs. */
export type DiskStorage = Storage & {
  /** What a link to this store allows; null when it is invalid or has expired. */
  readLink(link: URL): Grant | null
  /** The bytes from `start` to `end`, both included. The caller reads or cancels the stream. */
  stream(key: string, range: { start: number; end: number }): ReadableStream<Uint8Array>
  /**
   * Stores a body under the grant's key if it has the granted size and SHA-256 and nothing is stored there yet.
   * Otherwise stores nothing and throws Problem `size_mismatch`, `checksum_mismatch`, `file_too_large` or
   * `precondition_failed`.
   */
  receive(grant: Grant, body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void>
  /** The folder of incomplete uploads, each under the key of its future object. */
  readonly uploads: string
  /** Makes a finished file of that folder the object under its key, as durable as one stored by `put`. */
  adopt(path: string, key: string, contentType: string): Promise<void>
}

type Settings = {
  root: string
  /** HMAC key of the links, see `links.ts`. */
  linkSecret: string
  /** Largest body that `receive` accepts, in bytes. */
  maxBytes: number
  /** Unix time in milliseconds. */
  now: () => number
}

/** Opens the store, creating its folders. */
export async function createDiskStorage({ root, linkSecret, maxBytes, now }: Settings): Promise<DiskStorage> {
  const objectPath = (key: string) => join(root, 'objects', checked(key))
  const typePath = (key: string) => join(root, 'types', checked(key))
  const incoming = join(root, 'incoming')
  const uploads = join(root, 'uploads')
  await rm(incoming, { recursive: true, force: true })
  for (const folder of ['objects', 'types', 'incoming', 'uploads']) await mkdir(join(root, folder), { recursive: true })

  /** Writes to a new file, syncs it, then hard-links it to its key, which fails if something is stored there. */
  async function store(key: string, contentType: string, write: (path: string) => Promise<void>): Promise<void> {
    const temporary = join(incoming, randomUUID())
    try {
      await write(temporary)
      await mkdir(dirname(typePath(key)), { recursive: true })
      await writeFile(typePath(key), contentType)
      await sync(typePath(key))
      await mkdir(dirname(objectPath(key)), { recursive: true })
      await link(temporary, objectPath(key))
      for (const path of [typePath(key), objectPath(key)]) {
        await sync(dirname(path))
        await sync(dirname(dirname(path)))
      }
    } finally {
      await rm(temporary, { force: true })
    }
  }

  async function stored(key: string, size: number): Promise<StoredHead> {
    const contentType = await readFile(typePath(key), 'utf8')
    return { size, contentType, etag: etagOf(key), contentEncoding: null, ordinaryClass: true }
  }

  return {
    name: 'disk',
    uploads,
    enforces: { once: true, checksum: true },

    async put(key, bytes, { contentType, signal }) {
      await reach(() => store(key, contentType, (path) => writeAll(path, [bytes])), signal)
    },

    async receive(grant, body) {
      if ((await stat(objectPath(grant.key)).catch(ifMissing)) !== null) throw alreadyThere()
      try {
        await store(grant.key, grant.contentType, (path) => writeAll(path, enforce(grant, maxBytes, body)))
      } catch (error) {
        if (error instanceof Problem) throw error
        throw isCode(error, 'EEXIST') ? alreadyThere() : unavailable(error)
      }
    },

    async adopt(path, key, contentType) {
      await reach(() =>
        store(key, contentType, async (temporary) => {
          await sync(path)
          await link(path, temporary)
        }),
      )
    },

    async head(key, { signal } = {}) {
      return reach(async () => {
        const file = await stat(objectPath(key)).catch(ifMissing)
        return file === null ? null : stored(key, file.size)
      }, signal)
    },

    async peek(key, { length, signal }) {
      return reach(async () => {
        const file = await open(objectPath(key), 'r').catch(ifMissing)
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
        const file = await open(objectPath(key), 'r')
        try {
          return await readFrom(file, start, length)
        } finally {
          await file.close()
        }
      }, signal)
    },

    // Bytes under a key never change, so a hard link serves as a copy, without copying bytes.
    async copy(from, to, { etag, as }) {
      await reach(async () => {
        checkEtag(from, etag)
        await store(to, as.contentType, async (path) => {
          await link(objectPath(from), path)
          // Hard links share one modification time; a sweep would take an old file for a leftover of an earlier re-key.
          const copiedAt = new Date()
          await utimes(path, copiedAt, copiedAt)
        })
      })
    },

    stream: (key, { start, end }) => streamFile(objectPath(key), start, end + 1),

    async list({ prefix, startAfter = '', limit, signal }) {
      return reach(async () => {
        const found: ListedObject[] = []
        for await (const key of keysInOrder(join(root, 'objects'), '', prefix, startAfter)) {
          // Not `objectPath`, which rejects foreign names: others may have put files here, and every store lists them.
          const file = await stat(join(root, 'objects', key)).catch(ifMissing)
          if (file !== null) found.push({ key, size: file.size, lastModified: file.mtime })
          if (found.length === limit) break
        }
        return found
      }, signal)
    },

    async remove(keys, { signal } = {}) {
      await reach(async () => {
        const outcomes = await Promise.allSettled(
          keys.map(async (key) => {
            await rm(objectPath(key), { force: true })
            await rm(typePath(key), { force: true })
          }),
        )
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
      }, signal)
    },

    // This store has no multipart uploads.
    async abortUploads() {},

    async removePrefix(prefix, { signal } = {}) {
      await reach(async () => {
        await rm(objectPath(prefix), { recursive: true, force: true })
        await rm(typePath(prefix), { recursive: true, force: true })
        await rm(join(uploads, checked(prefix)), { recursive: true, force: true })
      }, signal)
    },

    async signGet(key, { from, expiresIn, ...headers }) {
      const expires = Math.floor(from.getTime() / 1000) + expiresIn
      return signLink({ method: 'GET', key, expires, ...headers, size: undefined, sha256: undefined }, linkSecret)
    },

    async signPut(key, { expiresIn, contentType, size, sha256 }) {
      const expires = Math.floor(now() / 1000) + expiresIn
      const unused = { disposition: undefined, cacheControl: undefined }
      const grant: Grant = { method: 'PUT', key, expires, contentType, size, sha256, ...unused }
      return { url: signLink(grant, linkSecret), headers: { 'content-type': contentType, 'if-none-match': '*' } }
    },

    readLink: (link) => readLink(link, linkSecret, now()),

    async check({ signal } = {}) {
      await reach(() => stat(join(root, 'objects')), signal)
    },

    close() {},
  }
}

/** Passes the body on and throws as soon as it cannot match the grant. */
async function* enforce(
  { size, sha256 }: Grant,
  maxBytes: number,
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (size !== undefined && length > size) break
    if (length > maxBytes) throw new Problem('file_too_large', `The file is larger than ${maxBytes} bytes.`)
    hash.update(chunk)
    yield chunk
  }
  if (size !== undefined && length !== size)
    throw new Problem('size_mismatch', `The link allows exactly ${size} bytes.`)
  if (sha256 !== undefined && hash.digest('hex') !== sha256)
    throw new Problem('checksum_mismatch', 'The SHA-256 of the bytes differs from the one that the link allows.')
}

async function writeAll(path: string, body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'wx')
  try {
    for await (const chunk of body) await file.writeFile(chunk)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Syncs a file or folder: a rename or hard link survives a crash only if its folder is synced, too. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function readFrom(file: FileHandle, start: number, length: number): Promise<Uint8Array> {
  const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, start)
  return buffer.subarray(0, bytesRead)
}

const CHUNK_BYTES = 256 * 1024

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

function checkEtag(key: string, etag: string): void {
  if (etag !== etagOf(key)) throw new Error(`${key} has the ETag ${etagOf(key)}, not ${etag}`)
}

/** Bytes under a key never change, so a hash of the key serves as the ETag. */
function etagOf(key: string): string {
  return `"${createHash('sha256').update(key).digest('base64url').slice(0, 22)}"`
}

/** Keys come from the service or from a link that it signed; no other text may become a path. */
function checked(key: string): string {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\/?$/.test(key))
    throw new Error(`not a storage key: ${key}`)
  return key
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** For `catch`: null if the file does not exist; rethrows any other error. */
export function ifMissing(error: unknown): null {
  if (isCode(error, 'ENOENT')) return null
  throw error
}

function alreadyThere(): Problem {
  return new Problem('precondition_failed', 'The link was already used: an object is stored under its key.')
}

/** Runs a call on the file system. Such calls are short, so an aborted signal only prevents the start. */
async function reach<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    signal?.throwIfAborted()
    return await call()
  } catch (error) {
    throw unavailable(error)
  }
}
