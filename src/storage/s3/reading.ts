/** Reads an object of the store: its head, its beginning, or a range of its bytes. */

import type { IncomingHttpHeaders } from 'node:http'
import { deadline } from '../../deadline.ts'
import { STORE_DEADLINE_MS, type Storage, type StoredHead } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { reach } from './client.ts'
import type { createSendGet } from './get.ts'
import { createGetRange } from './get-range.ts'
import { isSameClass } from './headers.ts'
import type { Signing } from './signing.ts'

type Deps = { signing: Pick<Signing, 'own'>; gets: ReturnType<typeof createSendGet>; storageClass: string }

type Asked = { range?: { start: number; length: number }; signal?: AbortSignal | undefined }

// The XML of a refusal is a few hundred.
const REFUSAL_BYTES = 64 * 1024
const SHOWN_BYTES = 1000

export function createReading({ signing, gets, storageClass }: Deps): Pick<Storage, 'head' | 'peek' | 'read'> {
  async function ask(method: 'GET' | 'HEAD', key: string, { range, signal }: Asked) {
    const url = await signing.own(method, key)
    const headers = range === undefined ? {} : { range: `bytes=${range.start}-${range.start + range.length - 1}` }
    const maxBytes = Math.max(range?.length ?? 0, REFUSAL_BYTES)
    return reach(() => gets.send({ method, url, headers, maxBytes, signal: deadline(STORE_DEADLINE_MS, signal) }))
  }

  const getRange = createGetRange()

  function stored(size: number, headers: IncomingHttpHeaders): StoredHead {
    const { 'content-type': contentType = '', etag = '' } = headers
    const contentEncoding = headers['content-encoding'] || null
    const ordinaryClass = isSameClass(headers['x-amz-storage-class']?.toString(), storageClass)
    return { size, contentType, etag, contentEncoding, ordinaryClass }
  }

  const head: Storage['head'] = async (key, { signal } = {}) => {
    const { status, headers } = await ask('HEAD', key, { signal })
    if (status === 404) return null
    if (status !== 200) throw unavailable(new Error(`HEAD ${key}: ${status}`))
    return stored(Number(headers['content-length']), headers)
  }

  return {
    head,

    async peek(key, { length, signal }) {
      const { status, headers, bytes } = await ask('GET', key, { range: { start: 0, length }, signal })
      if (status === 404) return null
      // An empty object has no valid range, and the 416 answer lacks its type.
      const isEmpty = status === 416 || (status === 200 && bytes.length === 0)
      if (!isEmpty && status !== 206) throw unexpected(key, status, bytes)
      const said = isEmpty ? await head(key, { signal }) : stored(sizeIn(headers['content-range']), headers)
      if (said === null) return null
      const beginning = isEmpty ? new Uint8Array() : bytes
      if (beginning.length !== Math.min(length, said.size))
        throw unavailable(new Error(`GET ${key}: ${status} with ${beginning.length} bytes of ${said.size}`))
      return { ...said, bytes: beginning }
    },

    async read(key, { start, length, signal }) {
      const url = await signing.own('GET', key)
      const range = `bytes=${start}-${start + length - 1}`
      const found = await reach(() =>
        getRange({ url, headers: { range }, maxBytes: length, signal: deadline(STORE_DEADLINE_MS, signal) }),
      )
      if (found !== undefined) return found
      const { status, bytes } = await ask('GET', key, { range: { start, length }, signal })
      // The range lies outside the object (RFC 9110, section 15.5.17).
      if (status === 416) return new Uint8Array()
      if (status !== 206) throw unexpected(key, status, bytes)
      return bytes
    },
  }
}

/** Shows the body of a refusal only: the bytes of an object belong to its owner and must not be logged. */
function unexpected(key: string, status: number, bytes: Uint8Array) {
  const said = status >= 400 ? Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString() : ''
  return unavailable(new Error(`GET ${key}: ${status} ${said}`))
}

/** The object's size from the Content-Range of a range that begins at 0; NaN for any other header. */
function sizeIn(contentRange: string | undefined): number {
  return Number(/^bytes 0-\d+\/(\d+)$/.exec(contentRange ?? '')?.[1])
}
