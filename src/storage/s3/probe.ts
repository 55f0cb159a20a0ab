/** Tests on a few bytes what the store makes of links, parts, copies and strangers, and which rights the key has. */
import {
  CopyObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { v7 as uuidv7 } from 'uuid'
import { type Finding, findingsAbout } from '../../finding.ts'
import type { SignPut, Storage } from '../storage.ts'
import { probeBrokenParts } from './broken-parts.ts'
import { sendBrokenPut } from './broken-request.ts'
import { judgeCdn } from './cdn.ts'
import { CRC32, crc32Of } from './checksums.ts'
import { findOpenings } from './exposure.ts'
import { probeClientHeaders } from './headers.ts'
import { createS3Multipart } from './multipart.ts'
import { isOk, PLAIN, PROBE } from './probe-requests.ts'
import { createRemoveSingly, createRemoveTogether } from './removal.ts'
import type { S3Settings } from './settings.ts'
import { createSigning, type Signing, type StoreTraits } from './signing.ts'
import { createS3Storage } from './storage.ts'

/**
 * `unguarded`: client headers that links cannot be signed against. `server`: the store's `Server` header. `findings`:
 * what strangers can do and must not, and what cannot be found out from here.
 */
export type FoundTraits = StoreTraits & {
  server: string | null
  unguarded: string[]
  findings: Finding[]
}

type Probe = { client: S3Client; config: S3Settings; cdnBaseUrl: string | undefined; signal: AbortSignal }

/** Removes its objects, also when it fails. */
export async function probe(deps: Probe): Promise<FoundTraits> {
  const { client, config } = deps
  // Upkeep removes the objects as orphans if the process dies here, since the keys have the form of an object's. A
  // multipart upload that is then under way stays until a lifecycle rule of the bucket ends it.
  const id = uuidv7()
  const keys: string[] = []
  const newKey = (name: string, home = 'media') => {
    const key = `${home}/${id}/${name}`
    keys.push(key)
    return key
  }
  const where = { client, bucket: config.bucket }
  const clear = () => removeAll(where, keys)
  try {
    const found = await look(deps, newKey)
    return { ...found, multiDelete: await clear() }
  } catch (error) {
    await clear().catch(() => {})
    throw error
  }
}

async function look(
  { client, config, cdnBaseUrl, signal }: Probe,
  newKey: (name: string, home?: string) => string,
): Promise<Omit<FoundTraits, 'multiDelete'>> {
  const { bucket: Bucket } = config
  const own = { ...config, publicEndpoint: config.endpoint }
  const storages = createStorages(own)
  const storage = storages.guardedBy([])
  const credentialsNow = async () => config.credentials ?? client.config.credentials()
  const { write: signPut } = createSigning(own, { traits: UNTESTED, credentialsNow })
  const multipart = createS3Multipart({ client, bucket: Bucket, signPut }, false)
  let server: string | null = null
  const accepts = async (key: string, bound: Partial<SignPut> = {}, extra: Record<string, string> = {}) => {
    const { url, headers } = await storage.signPut(key, { ...PLAIN, ...bound })
    const answer = await fetch(url, { method: 'PUT', headers: { ...headers, ...extra }, body: PROBE, signal })
    await answer.body?.cancel()
    server = answer.headers.get('server')
    return answer.ok
  }
  try {
    const source = newKey('source')
    await useRights({ client, bucket: Bucket, source, copy: newKey('copy'), signal })
    const twice = newKey('twice')
    await accepts(twice)
    const work = [
      accepts(newKey('copied'), {}, { 'x-amz-copy-source': `/${Bucket}/${source}` }),
      accepts(twice),
      accepts(newKey('checked'), { sha256: '0'.repeat(64) }),
      probeBrokenParts({ client, bucket: Bucket, key: newKey('broken'), multipart, signal }),
      findOpenings({ storage, stored: source, newKey, signal }),
      judge({ client, config, cdnBaseUrl, signal }, source, newKey),
      probeClientHeaders({
        ...{ client, bucket: Bucket, newKey, signal },
        sign: (key, guards) => storages.guardedBy(guards).signPut(key, PLAIN),
      }),
      keepsHalf(storage, newKey('half'), signal),
      checksCrc32(signPut, { right: newKey('crc32'), wrong: newKey('wrong-crc32') }, signal),
    ] as const
    // When one fails, none goes on afterwards: their objects are removed next.
    await Promise.allSettled(work)
    const [copies, again, wrong, brokenParts, open, cdn, { unguarded, ...said }, half, crc32] = await Promise.all(work)
    const enforces = { once: !again, checksum: !wrong, whole: !half }
    return {
      guardCopies: copies,
      enforces,
      crc32,
      brokenParts,
      findings: [...open, ...cdn, ...(brokenParts === 'kept' ? [HALVES_PARTS] : [])],
      server,
      unguarded,
      ...said,
    }
  } finally {
    storages.close()
  }
}

const HALVES_PARTS = findingsAbout('store').warning(
  'S3_ENDPOINT',
  'the store keeps parts that arrived in half, whatever checksum they have, so multipart and tus uploads are refused',
  'take a store of docs/stores.md that refuses them',
)

/** One storage for each set of client headers that links are signed against. */
function createStorages(own: S3Settings) {
  const storages = new Map<string, Storage>()
  return {
    guardedBy(guards: readonly string[]): Storage {
      const made = storages.get(guards.join()) ?? createS3Storage(own, { ...UNTESTED, guards })
      storages.set(guards.join(), made)
      return made
    },
    close() {
      for (const each of storages.values()) each.close()
    },
  }
}

/** Whether a request that breaks off leaves the bytes that have arrived. */
async function keepsHalf(storage: Storage, key: string, signal: AbortSignal): Promise<boolean> {
  const { url, headers } = await storage.signPut(key, PLAIN)
  await sendBrokenPut(url, headers, new Uint8Array(HALVED_BYTES))
  return (await storage.head(key, { signal })) !== null
}

/** Some stores refuse what they do not know, others ignore it. */
async function checksCrc32(
  signPut: Signing['write'],
  { right, wrong }: { right: string; wrong: string },
  signal: AbortSignal,
): Promise<boolean> {
  const stores = async (key: string, value: string) => {
    const headers = { [CRC32]: value }
    const url = await signPut({ key, expiresIn: PLAIN.expiresIn, headers, internal: true })
    return isOk(url, { method: 'PUT', headers, body: PROBE, signal })
  }
  const value = crc32Of(new TextEncoder().encode(PROBE))
  return (await stores(right, value)) && !(await stores(wrong, crc32Of(new Uint8Array(1))))
}

type Rights = { client: S3Client; bucket: string; source: string; copy: string; signal: AbortSignal }

/** One call for each right that nothing else here needs; each refusal names its right. */
async function useRights({ client, bucket: Bucket, source, copy, signal: abortSignal }: Rights): Promise<void> {
  await client.send(new PutObjectCommand({ Bucket, Key: source, Body: PROBE }), { abortSignal })
  await client.send(new HeadObjectCommand({ Bucket, Key: source }), { abortSignal })
  await client.send(new CopyObjectCommand({ Bucket, Key: copy, CopySource: `${Bucket}/${source}` }), { abortSignal })
  await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: source }), { abortSignal })
}

async function judge(
  { client, config, cdnBaseUrl, signal }: Probe,
  privateKey: string,
  newKey: (name: string, home?: string) => string,
): Promise<Finding[]> {
  if (cdnBaseUrl === undefined) return []
  const publicKey = newKey('probe', 'public')
  await client.send(new PutObjectCommand({ Bucket: config.bucket, Key: publicKey, Body: PROBE }), {
    abortSignal: signal,
  })
  return judgeCdn({ cdnBaseUrl, publicKey, privateKey, signal })
}

/** Returns whether the store has DeleteObjects. */
async function removeAll(where: { client: S3Client; bucket: string }, keys: readonly string[]): Promise<boolean> {
  if (keys.length === 0) return true
  try {
    await createRemoveTogether(where)(keys)
    return true
  } catch {
    await createRemoveSingly(where)(keys)
    return false
  }
}

const HALVED_BYTES = 64 * 1024
const UNTESTED: StoreTraits = {
  guardCopies: false,
  guards: [],
  storageClass: '',
  enforces: { once: true, checksum: true, whole: true },
  multiDelete: true,
  crc32: false,
  brokenParts: 'refused',
}
