/**
 * Looks at the gateway in front of a running service: whether it takes bodies of the size that the service takes, passes
 * event streams on as they come, and leaves requests their headers. Only requests that the service refuses, so nothing is
 * stored: a header has arrived if the service finds fault with its value.
 */
import { signCheckToken } from '../auth/check-token.ts'
import type { Config } from '../config/config.ts'
import { deadline } from '../deadline.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import type { Examined } from './set-up.ts'

const ANSWER_MS = 10_000
const BODY_MS = 120_000
// The service writes to a new stream at once; a gateway that gathers answers holds it back much longer than this.
const STREAM_MS = 5000

type Target = { base: string; headers: Record<string, string> }

/** @param headers credentials for the gateway; without them, a bearer token by AUTH_JWT_SECRET if it is set */
export async function examineGateway(
  url: string,
  headers: Record<string, string>,
  { auth, media }: Pick<Config, 'auth' | 'media'>,
): Promise<Examined> {
  const given = Object.keys(headers).length > 0
  const own = given || auth.jwtSecrets === undefined ? headers : await bearer(auth, auth.jwtSecrets[0])
  const target = { base: url.replace(/\/+$/, ''), headers: own }
  return { name: 'gateway', findings: await look(target, auth, media.maxUploadBytes) }
}

async function bearer(auth: Config['auth'], jwtSecret: string): Promise<Record<string, string>> {
  return { authorization: `Bearer ${await signCheckToken(jwtSecret, auth)}` }
}

async function look(target: Target, auth: Config['auth'], maxUploadBytes: number): Promise<Finding[]> {
  const known = await ask(target, '/media?limit=1')
  if (known === null)
    return [unknown(GATEWAY, `${target.base} is not reachable from here`, 'run the doctor where clients are')]
  if (known.status !== 200) return [await whyUnknown(target, auth, known)]
  const [body, stream, stripped] = await Promise.all([
    bodyIsTaken(target, maxUploadBytes),
    streams(target),
    strippedFrom(target),
  ])
  return [
    ...(body ? [] : [TOO_SMALL(maxUploadBytes)]),
    ...(stream ? [] : [BUFFERS]),
    ...(stripped.length > 0 ? [STRIPS(stripped)] : []),
  ]
}

/** The service tells a bad token from none. */
async function whyUnknown(target: Target, auth: Config['auth'], { status }: Answer): Promise<Finding> {
  const mayBeStripped = auth.jwtSecrets !== undefined || auth.jwksUrl !== undefined || auth.discovers
  const probed = await ask({ ...target, headers: { authorization: 'Bearer of-the-doctor' } }, '/media?limit=1')
  if (mayBeStripped && probed?.code === 'token_missing') return STRIPS(['Authorization'])
  if (status !== 401 && status !== 403)
    return wrong(GATEWAY, `${target.base}/media is answered ${status}`, 'route /media to the service')
  return unknown(
    GATEWAY,
    `it does not know the caller (${status})`,
    "name credentials: --header 'Authorization: Bearer …'",
  )
}

/** A type that the service never accepts, so that it refuses the file when it has it all. */
async function bodyIsTaken(target: Target, maxUploadBytes: number): Promise<boolean> {
  const form = new FormData()
  form.append('file', new Blob([new Uint8Array(maxUploadBytes)]), 'of-the-doctor')
  const answer = await ask(target, '/media/upload', { method: 'POST', body: form }, BODY_MS)
  return answer?.code !== undefined && answer.status !== 413
}

async function streams({ base, headers }: Target): Promise<boolean> {
  const ending = new AbortController()
  const late = setTimeout(() => ending.abort(), STREAM_MS)
  try {
    const answer = await fetch(`${base}/media/events`, { headers, signal: ending.signal })
    const { value } = (await answer.body?.getReader().read()) ?? {}
    return answer.ok && value !== undefined
  } catch {
    return false
  } finally {
    clearTimeout(late)
    ending.abort()
  }
}

async function strippedFrom(target: Target): Promise<string[]> {
  const json = { 'content-type': 'application/json' }
  const post = (headers: Record<string, string>) => ({ method: 'POST', headers, body: '{}' })
  const [presign, events, tus] = await Promise.all([
    ask(target, '/media/presign', post({ ...json, 'idempotency-key': 'not a key' })),
    ask(target, '/media/events', { headers: { 'last-event-id': 'not-an-id' } }),
    ask(target, '/media/tus', { method: 'POST', headers: { 'tus-resumable': '1.0.0' } }),
  ])
  return [
    ...(presign?.text.includes('idempotency-key') ? [] : ['Idempotency-Key']),
    ...(events?.text.includes('last-event-id') ? [] : ['Last-Event-ID']),
    ...(tus?.code === 'precondition_failed' ? ['Tus-Resumable'] : []),
  ]
}

type Answer = { status: number; text: string; code: string | undefined }

/** Null when there is no answer. */
async function ask(
  { base, headers }: Target,
  path: string,
  init: RequestInit & { headers?: Record<string, string> } = {},
  ms = ANSWER_MS,
): Promise<Answer | null> {
  try {
    const answer = await fetch(base + path, {
      ...init,
      headers: { ...headers, ...init.headers },
      redirect: 'manual',
      signal: deadline(ms),
    })
    // An event stream has no end.
    const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream')
    const text = isStream ? '' : await answer.text()
    if (isStream) await answer.body?.cancel()
    return { status: answer.status, text, code: /"code":\s*"(\w+)"/.exec(text)?.[1] }
  } catch {
    return null
  }
}

const GATEWAY = '--gateway'
const { wrong, warning, unknown } = findingsAbout('gateway')
const TOO_SMALL = (bytes: number) =>
  warning(
    GATEWAY,
    `it takes no body of MAX_UPLOAD_BYTES (${bytes} bytes)`,
    'raise its limit (client_max_body_size in nginx), or lower the setting',
  )
const BUFFERS = warning(
  GATEWAY,
  'it holds event streams back',
  'switch off its buffering for /media/events (proxy_buffering in nginx)',
)
const STRIPS = (names: string[]) =>
  warning(GATEWAY, `it takes headers from requests: ${names.join(', ')}`, 'have it pass them on')
