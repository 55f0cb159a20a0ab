/** The way of a browser to the store: a preflight and a real upload from a page, and the bucket's CORS rules. */
import { type CORSRule, GetBucketCorsCommand, PutBucketCorsCommand, S3ServiceException } from '@aws-sdk/client-s3'
import { v7 as uuidv7 } from 'uuid'
import { deadline } from '../../deadline.ts'
import { type Finding, findingsAbout } from '../../finding.ts'
import { STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { createClient } from './client.ts'
import { PLAIN, PROBE } from './probe-requests.ts'
import type { S3Settings } from './settings.ts'
import type { StoreTraits } from './signing.ts'
import { createS3Storage } from './storage.ts'

/** What pages send with uploads, as docs/deploying.md says. */
const HEADERS = ['content-type', 'content-md5', 'if-none-match', 'x-amz-checksum-sha256']
const RULE = 'media-service'

/**
 * Uploads a few bytes at the public endpoint as a page of each origin would, and reads one of them. Removes the objects.
 * @param origins of pages; without any, the endpoint itself is tried
 */
export async function findObstacles(
  config: S3Settings,
  traits: StoreTraits,
  origins: readonly string[],
): Promise<Finding[]> {
  const storage = createS3Storage(config, traits)
  const prefix = `media/${uuidv7()}/`
  try {
    const tries = (origins.length > 0 ? origins : [undefined]).map((origin, i) => {
      return obstacleOf({ storage, key: `${prefix}${i}`, origin })
    })
    const blocked = (await Promise.all(tries)).filter((finding) => finding !== undefined)
    const [atAll] = blocked.filter(({ origin }) => origin === undefined)
    if (atAll !== undefined) return [atAll.finding]
    // One line for all origins.
    const [first] = blocked
    return first === undefined
      ? []
      : [
          about(
            blocked.flatMap(({ origin }) => origin ?? []),
            first.finding,
          ),
        ]
  } finally {
    await storage.removePrefix(prefix)
    storage.close()
  }
}

/** `origin`: absent when the obstacle is one for everybody. */
type Obstacle = { finding: Finding; origin?: string | undefined } | undefined
type Page = { storage: Storage; key: string; origin: string | undefined }

async function obstacleOf({ storage, key, origin }: Page): Promise<Obstacle> {
  const { url, headers } = await storage.signPut(key, PLAIN)
  const from: Record<string, string> = origin === undefined ? {} : { origin }
  const stored = await ask(url, { method: 'PUT', headers: { ...headers, ...from }, body: PROBE })
  if (stored === null) return { finding: outOfReach(new URL(url).origin) }
  if (!stored.ok) return { finding: refusing(stored.status) }
  const link = await storage.signGet(key, { ...AS_TEXT, from: new Date(), expiresIn: 60 })
  const part = await ask(link, { headers: { range: 'bytes=0-0' } })
  if (part?.status !== 206) return { finding: WHOLE }
  if (origin === undefined) return undefined
  const asked = {
    'access-control-request-method': 'PUT',
    'access-control-request-headers': Object.keys(headers).join(),
  }
  const preflight = await ask(url, { method: 'OPTIONS', headers: { origin, ...asked } })
  if (!allows(preflight, origin, Object.keys(headers)) || !isFor(origin, stored)) return { finding: CLOSED, origin }
  const exposed = listIn(stored, 'access-control-expose-headers')
  return exposed.includes('etag') || exposed.includes('*') ? undefined : { finding: HIDDEN, origin }
}

function allows(preflight: Response | null, origin: string, names: string[]): boolean {
  if (!preflight?.ok || !isFor(origin, preflight)) return false
  const methods = listIn(preflight, 'access-control-allow-methods')
  const headers = listIn(preflight, 'access-control-allow-headers')
  const allowed = names.every((name) => headers.includes('*') || headers.includes(name.toLowerCase()))
  return (methods.includes('*') || methods.includes('put')) && allowed
}

function isFor(origin: string, { headers }: Response): boolean {
  return ['*', origin].includes(headers.get('access-control-allow-origin') ?? '')
}

function listIn({ headers }: Response, name: string): string[] {
  return (headers.get(name) ?? '').split(',').map((item) => item.trim().toLowerCase())
}

/** Null when there is no answer. */
async function ask(url: string, init: RequestInit): Promise<Response | null> {
  const answer = await fetch(url, { ...init, signal: deadline(STORE_DEADLINE_MS) }).catch(() => null)
  await answer?.body?.cancel()
  return answer
}

/**
 * Lets pages of these origins upload to the bucket; its other rules stay.
 * @returns why the store does not do so, if so
 */
export async function allowOrigins(config: S3Settings, origins: readonly string[]): Promise<string | undefined> {
  const client = createClient(config)
  const own = { Bucket: config.bucket }
  const signal = { abortSignal: deadline(STORE_DEADLINE_MS) }
  const rule: CORSRule = {
    ID: RULE,
    AllowedOrigins: [...origins],
    AllowedMethods: ['PUT', 'GET', 'HEAD'],
    AllowedHeaders: HEADERS,
    ExposeHeaders: ['ETag'],
    MaxAgeSeconds: 3600,
  }
  try {
    const { CORSRules: others = [] } = await client.send(new GetBucketCorsCommand(own), signal).catch(noRules)
    // The first rule that matches a request counts.
    const CORSRules = [rule, ...others.filter(({ ID }) => ID !== RULE)]
    await client.send(new PutBucketCorsCommand({ ...own, CORSConfiguration: { CORSRules } }), signal)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.name : String(error)
  } finally {
    client.destroy()
  }
}

function noRules(error: unknown): { CORSRules?: CORSRule[] } {
  if (error instanceof S3ServiceException && error.name === 'NoSuchCORSConfiguration') return {}
  throw error
}

const { wrong, warning, unknown } = findingsAbout('store')
const AS_TEXT = { contentType: 'text/plain', disposition: 'attachment', cacheControl: 'no-store' }
const outOfReach = (endpoint: string) =>
  unknown('S3_PUBLIC_ENDPOINT', `${endpoint} is not reachable from here`, 'run the doctor where clients are')
const refusing = (status: number) =>
  wrong(
    'S3_PUBLIC_ENDPOINT',
    `an upload link is answered ${status} there`,
    'let the store see the host name and path of S3_PUBLIC_ENDPOINT as they are, for they are signed',
  )
const WHOLE = warning(
  'S3_PUBLIC_ENDPOINT',
  'a request for a range gets the whole object there',
  'let what stands before the store pass Range on',
)
const FIX = '`bun run doctor --fix` sets CORS on the bucket where the store can, docs/deploying.md says the rest'
const CLOSED = warning('CORS_ORIGINS', 'the store lets no uploads in from pages of', FIX)
const HIDDEN = warning('CORS_ORIGINS', 'the store does not expose ETag, which uploads in parts need, to pages of', FIX)

function about(origins: readonly string[], finding: Finding): Finding {
  return { ...finding, problem: `${finding.problem} ${origins.join(', ')}` }
}
