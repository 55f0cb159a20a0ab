/** Finds out what strangers can do: read or write private objects, or use links for more than they were signed for. */
import { type Finding, findingsAbout } from '../../finding.ts'
import type { Storage } from '../storage.ts'
import { isOk, PLAIN, PROBE, unsigned } from './probe-requests.ts'

type Probe = {
  /** For links to the service's own endpoint. */
  storage: Pick<Storage, 'signGet' | 'signPut'>
  /** A stored object of `PROBE`. */
  stored: string
  newKey: (name: string) => string
  signal: AbortSignal
}

export async function findOpenings({ storage, stored, newKey, signal }: Probe): Promise<Finding[]> {
  const readLink = await storage.signGet(stored, { ...AS_TEXT, from: new Date(), expiresIn: 60 })
  const put = async (key: string, change: (url: string) => string, body: string) => {
    const { url, headers } = await storage.signPut(key, { ...PLAIN, size: PROBE.length })
    return isOk(change(url), { method: 'PUT', headers, body, signal })
  }
  const [reads, writes, forged, longer] = await Promise.all([
    isOk(unsigned(readLink), { signal }),
    put(newKey('unsigned'), unsigned, PROBE),
    isOk(forge(readLink), { signal }),
    put(newKey('longer'), (url) => url, `${PROBE}${PROBE}`),
  ])
  // Without the check of signatures everybody may do everything: one cause, one finding.
  if (forged) return [UNCHECKED]
  return [...(reads ? [READABLE] : []), ...(writes ? [WRITABLE] : []), ...(longer ? [LONGER] : [])]
}

const { wrong } = findingsAbout('store')
const POLICY = "take the rights of anonymous users out of the bucket's policy"
const READABLE = wrong('S3_BUCKET', 'anybody can read private originals under media/ without a signature', POLICY)
const WRITABLE = wrong('S3_BUCKET', 'anybody can write under media/ without a signature', POLICY)
const UNCHECKED = wrong(
  'S3_ENDPOINT',
  'the store does not check signatures, so anybody can read and write everything',
  'give the store identities, or take another one',
)
const LONGER = wrong(
  'S3_ENDPOINT',
  'upload links accept more bytes than they were signed for',
  'take a store that checks the content-length of a signature',
)

/** The same link with another signature. */
function forge(url: string): string {
  return url.replace(/(X-Amz-Signature=[0-9a-f]*)([0-9a-f])$/, (_, rest, last) => `${rest}${last === '0' ? '1' : '0'}`)
}

const AS_TEXT = { contentType: 'text/plain', disposition: 'attachment', cacheControl: 'no-store' }
