/** Writes objects of the disk store: each appears under its key complete and synced, or not at all. */
import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, open, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Problem } from '../../problem.ts'
import type { Storage } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { ifMissing, isCode, reach, sync } from './files.ts'
import { type Folders, objectPath, typePath } from './folders.ts'
import type { Grant } from './links.ts'
import { etagOf } from './reading.ts'

export type Body = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

type Writing = Pick<Storage, 'put' | 'copy'> & {
  receive(grant: Grant, body: Body): Promise<void>
  adopt(path: string, key: string, contentType: string): Promise<void>
}

/** @param maxBytes largest body that `receive` accepts */
export function createWriting(folders: Folders, maxBytes: number): Writing {
  return {
    async put(key, bytes, { contentType, signal }) {
      await reach(() => store(folders, { key, contentType, write: (path) => writeAll(path, [bytes]) }), signal)
    },

    async receive(grant, body) {
      const { key, contentType } = grant
      if ((await stat(objectPath(folders, key)).catch(ifMissing)) !== null) throw alreadyThere()
      try {
        await store(folders, { key, contentType, write: (path) => writeAll(path, enforce(grant, maxBytes, body)) })
      } catch (error) {
        if (error instanceof Problem) throw error
        throw isCode(error, 'EEXIST') ? alreadyThere() : unavailable(error)
      }
    },

    async adopt(path, key, contentType) {
      const write = async (temporary: string) => {
        await sync(path)
        await link(path, temporary)
      }
      await reach(() => store(folders, { key, contentType, write }))
    },

    // Bytes under a key never change, so a hard link serves as a copy, without copying bytes.
    async copy(from, to, { etag, as: { contentType } }) {
      const write = async (path: string) => {
        await link(objectPath(folders, from), path)
        // Hard links share one modification time; a sweep would take an old file for a leftover of an earlier re-key.
        const copiedAt = new Date()
        await utimes(path, copiedAt, copiedAt)
      }
      await reach(async () => {
        checkEtag(from, etag)
        await store(folders, { key: to, contentType, write })
      })
    },
  }
}

type Stored = { key: string; contentType: string; write: (path: string) => Promise<void> }

/** Writes to a new file, syncs it, then hard-links it to its key, which fails if something is stored there. */
async function store(folders: Folders, { key, contentType, write }: Stored): Promise<void> {
  const [ofBytes, ofType] = [objectPath(folders, key), typePath(folders, key)]
  const temporary = join(folders.incoming, randomUUID())
  try {
    await write(temporary)
    await mkdir(dirname(ofType), { recursive: true })
    await writeFile(ofType, contentType)
    await sync(ofType)
    await mkdir(dirname(ofBytes), { recursive: true })
    await link(temporary, ofBytes)
    for (const path of [ofType, ofBytes]) {
      await sync(dirname(path))
      await sync(dirname(dirname(path)))
    }
  } finally {
    await rm(temporary, { force: true })
  }
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

/** Passes the body on and throws as soon as it cannot match the grant. */
async function* enforce({ size, sha256 }: Grant, maxBytes: number, body: Body): AsyncGenerator<Uint8Array> {
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

function checkEtag(key: string, etag: string): void {
  if (etag !== etagOf(key)) throw new Error(`${key} has the ETag ${etagOf(key)}, not ${etag}`)
}

function alreadyThere(): Problem {
  return new Problem('precondition_failed', 'The link was already used: an object is stored under its key.')
}
