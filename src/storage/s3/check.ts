/** What a store enforces, as a table for the operator: the findings of the start probe, and a few more. */
import { v7 as uuidv7 } from 'uuid'
import { sentenceOf } from '../../finding.ts'
import type { SignPut, Storage } from '../storage.ts'
import { prepareBucket } from './bucket.ts'
import type { FoundTraits } from './probe.ts'
import { isOk } from './probe-requests.ts'
import type { S3Settings } from './settings.ts'
import { createS3Storage } from './storage.ts'

/** A line of the table. `means`: what the service makes of it. `fit` is false where the service should not be used with the store. */
export type Trait = { what: string; found: string; means: string; fit: boolean }

/**
 * Leaves nothing behind in the bucket.
 * @param origin a page's, for CORS
 * @throws StoreUnfit, Problem `storage_unavailable`, or an Error when the bucket has objects of a service
 */
export async function checkStore(config: S3Settings, origin: string): Promise<Trait[]> {
  const traits = await prepareBucket(config)
  const storage = createS3Storage(config, traits)
  const prefix = `media/${uuidv7()}/`
  const parts = `${prefix}parts`
  try {
    if (await isUsed(storage)) throw new Error(`${config.bucket} has objects: name a bucket of its own for the check`)
    return [
      ...ofTraits(traits),
      ...(await ofLinks(storage, prefix, origin)),
      ...(await ofObjects(storage, prefix, parts)),
    ]
  } finally {
    await storage.abortUploads(parts)
    await storage.removePrefix(prefix)
    storage.close()
  }
}

async function isUsed(storage: Storage): Promise<boolean> {
  const found = await Promise.all(['media/', 'public/'].map((prefix) => storage.list({ prefix, limit: 1 })))
  return found.some((objects) => objects.length > 0)
}

function ofTraits(traits: FoundTraits): Trait[] {
  const { enforces, brokenParts, guardCopies, guards, unguarded, multiDelete, findings } = traits
  const headers = [...guards, ...unguarded]
  const openings = findings.map(sentenceOf)
  return [
    trait('once', yes(enforces.once), enforces.once ? '' : 'uploads are copied on completion'),
    trait('checksum', yes(enforces.checksum), enforces.checksum ? '' : 'uploads with a SHA-256 are refused'),
    trait('half an object', enforces.whole ? 'refused' : 'kept', enforces.whole ? '' : 'presign requires the size'),
    trait('half a part', brokenParts, PARTS[brokenParts]),
    trait('copy over a link', guardCopies ? 'taken' : 'refused', guardCopies ? 'links are signed against it' : ''),
    trait('unsigned headers', headers.length > 0 ? 'taken' : 'refused', meaningOf(guards, unguarded)),
    trait('DeleteObjects', yes(multiDelete), multiDelete ? '' : 'objects are removed one by one'),
    trait('strangers', openings.length > 0 ? 'let in' : 'kept out', openings.join('; '), openings.length === 0),
  ]
}

const PARTS = {
  refused: '',
  'unless-checked': 'clients must name the MD5 of each part',
  kept: 'no multipart and no tus uploads',
}

function meaningOf(guards: readonly string[], unguarded: readonly string[]): string {
  if (unguarded.length > 0) return `complete refuses ${unguarded.join(', ')}`
  return guards.length > 0 ? 'links are signed against them' : ''
}

async function ofLinks(storage: Storage, prefix: string, origin: string): Promise<Trait[]> {
  const put = async (name: string, changed: Record<string, string>, body = BODY) => {
    const { url, headers } = await storage.signPut(prefix + name, UPLOAD)
    return isOk(url, { method: 'PUT', headers: { ...headers, ...changed }, body })
  }
  const [longer, other, { url }] = [
    await put('longer', {}, `${BODY}${BODY}`),
    await put('type', { 'content-type': 'image/png' }),
    await storage.signPut(`${prefix}cors`, UPLOAD),
  ]
  const preflight = await fetch(url, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'content-type' },
  })
  await preflight.body?.cancel()
  const allowed = ['*', origin].includes(preflight.headers.get('access-control-allow-origin') ?? '')
  return [
    trait('length', yes(!longer), longer ? 'links accept more than was declared' : '', !longer),
    trait('type', yes(!other), other ? 'complete compares the types' : ''),
    trait('CORS', allowed ? `${origin} allowed` : `${origin} not allowed`, allowed ? '' : 'see deploying.md'),
  ]
}

async function ofObjects(storage: Storage, prefix: string, parts: string): Promise<Trait[]> {
  const keys = ['-a/x', 'A', '_', 'a-b', 'a.b', 'a/x', 'a0'].map((name) => `${prefix}list/${name}`).sort()
  for (const key of keys.toReversed()) await storage.put(key, new TextEncoder().encode(BODY), TEXT)
  const listed = (await storage.list({ prefix: `${prefix}list/`, limit: 100 })).map(({ key }) => key)
  const inOrder = listed.join() === keys.join()
  const { multipart } = storage
  const replaced = multipart === undefined ? null : await replaces(multipart, parts)
  return [
    trait('listing order', inOrder ? 'bytes' : 'another', inOrder ? '' : 'upkeep misses objects', inOrder),
    trait(
      'conditional complete',
      replaced === null ? 'not tested' : yes(!replaced),
      replaced === true ? 'a second upload replaces the bytes' : '',
      replaced !== true,
    ),
  ]
}

/** Whether a second multipart upload of a key replaces the object of the first. */
async function replaces(multipart: NonNullable<Storage['multipart']>, key: string): Promise<boolean> {
  const complete = async () => {
    const uploadId = await multipart.begin(key, TEXT)
    const part = { partNumber: 1, size: BODY.length, from: new Date(), expiresIn: 60 }
    const { url, headers } = await multipart.signPart(key, uploadId, part)
    await isOk(url, { method: 'PUT', headers, body: BODY })
    return multipart.complete(key, uploadId, (await multipart.parts(key, uploadId)) ?? [])
  }
  await complete()
  return (await complete()) === 'stored'
}

function trait(what: string, found: string, means: string, fit = true): Trait {
  return { what, found, means, fit }
}

function yes(enforced: boolean): string {
  return enforced ? 'yes' : 'no'
}

const BODY = 'check'
const TEXT = { contentType: 'text/plain' }
const UPLOAD: SignPut = { expiresIn: 60, ...TEXT, size: BODY.length, sha256: undefined }
