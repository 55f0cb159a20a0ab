/**
 * The storage port on files under a folder, for the embedded default: the same promises as S3, on one machine.
 *
 *     objects/KEY   the bytes; a file appears under its key complete and synced, or not at all
 *     types/KEY     the content type, written before the bytes so that no object is without one
 *     incoming/     files being written; those left by a crash are removed at start
 *     uploads/KEY   bytes of an incomplete tus upload; they survive a restart and are removed with their object
 */
import { rm, stat } from 'node:fs/promises'
import type { Secrets } from '../../secrets.ts'
import type { Storage } from '../storage.ts'
import { reach } from './files.ts'
import { type Folders, objectPath, openFolders, typePath, uploadPath } from './folders.ts'
import { type Grant, readLink, signLink } from './links.ts'
import { bodyOf, createReading } from './reading.ts'
import { type Body, createWriting } from './writing.ts'

/** The disk store, which serves its own links: it adds to the port what `/files/*` needs. */
export type DiskStorage = Storage & {
  /** What a link to this store allows; null when it is invalid or has expired. */
  readLink(link: URL): Grant | null
  /**
   * The bytes from `start` to `end`, both included, for a response. The caller reads or cancels a stream.
   * @param request `rangeIgnored`: whether it has a Range that does not count
   */
  body(
    key: string,
    range: { start: number; end: number },
    request: { rangeIgnored: boolean },
  ): Promise<Blob | ReadableStream<Uint8Array>>
  /**
   * Stores a body under the grant's key if it has the granted size and SHA-256 and nothing is stored there yet.
   * Otherwise stores nothing and throws Problem `size_mismatch`, `checksum_mismatch`, `file_too_large` or
   * `precondition_failed`.
   */
  receive(grant: Grant, body: Body): Promise<void>
  /** The folder of incomplete uploads, each under the key of its future object. */
  readonly uploads: string
  /** Makes a finished file of that folder the object under its key, as durable as one stored by `put`. */
  adopt(path: string, key: string, contentType: string): Promise<void>
}

type Settings = {
  root: string
  /** HMAC keys of the links, see `links.ts`. */
  linkSecrets: Secrets
  /** Largest body that `receive` accepts, in bytes. */
  maxBytes: number
  /** Unix time in milliseconds. */
  now: () => number
}

/** Opens the store, creating its folders. */
export async function createDiskStorage({ root, linkSecrets, maxBytes, now }: Settings): Promise<DiskStorage> {
  const folders = await openFolders(root)
  return {
    name: 'disk',
    uploads: folders.uploads,
    enforces: { once: true, checksum: true, whole: true },
    ...createReading(folders),
    ...createWriting(folders, maxBytes),
    ...createRemoving(folders),
    ...createSigning(linkSecrets[0], now),
    body: (key, { start, end }, request) => bodyOf(objectPath(folders, key), { start, end: end + 1 }, request),
    readLink: (link) => readLink(link, linkSecrets, now()),

    async check({ signal } = {}) {
      await reach(() => stat(folders.objects), signal)
    },

    close() {},
  }
}

function createRemoving(folders: Folders): Pick<Storage, 'remove' | 'removePrefix' | 'abortUploads'> {
  return {
    async remove(keys, { signal } = {}) {
      await reach(async () => {
        const outcomes = await Promise.allSettled(
          keys.map(async (key) => {
            await rm(objectPath(folders, key), { force: true })
            await rm(typePath(folders, key), { force: true })
          }),
        )
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
      }, signal)
    },

    async removePrefix(prefix, { signal } = {}) {
      await reach(async () => {
        for (const path of [objectPath, typePath, uploadPath])
          await rm(path(folders, prefix), { recursive: true, force: true })
      }, signal)
    },

    // This store has no multipart uploads.
    async abortUploads() {},
  }
}

function createSigning(secret: string, now: () => number): Pick<Storage, 'signGet' | 'signPut'> {
  return {
    async signGet(key, { from, expiresIn, ...headers }) {
      const expires = Math.floor(from.getTime() / 1000) + expiresIn
      return signLink({ method: 'GET', key, expires, ...headers, size: undefined, sha256: undefined }, secret)
    },

    async signPut(key, { expiresIn, contentType, size, sha256 }) {
      const expires = Math.floor(now() / 1000) + expiresIn
      const unused = { disposition: undefined, cacheControl: undefined }
      const grant: Grant = { method: 'PUT', key, expires, contentType, size, sha256, ...unused }
      return { url: signLink(grant, secret), headers: { 'content-type': contentType, 'if-none-match': '*' } }
    },
  }
}
