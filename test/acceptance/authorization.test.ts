import { afterAll, expect, test } from 'bun:test'
import { v7 as uuidv7 } from 'uuid'
import { answered, type Call, newUser, type Page, tokenFor } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { MiB, type Multipart } from '../support/http/parts.ts'
import { TUS } from '../support/http/tus-client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

const GATEWAY_SECRET = 'what only the gateway and the service know'
// Without limits: their headers count, so that no two answers would be equal.
const settings = { GATEWAY_SECRET, AUTH_AUDIENCE: 'media', RATE_LIMIT_PER_MINUTE: '0' }
const { call, inside, close } = await openStage(settings)
afterAll(close)

/** Every way for an object to be, and not to be: `unknown` stands for purged, too, which leaves no row. */
const STATES = ['pending', 'inParts', 'tus', 'active', 'deleted', 'purging', 'unknown'] as const
type State = (typeof STATES)[number]
type Visibility = 'private' | 'public'
type Target = { id: string; key: string; uploadId: string; state: State; visibility: Visibility }

const owner = newUser()
const other = newUser()
const through = (userId: string, role = 'user', secret = GATEWAY_SECRET) => ({
  'x-gateway-secret': secret,
  'x-user-id': userId,
  'x-user-role': role,
})
const bearer = async (userId: string, claims: Record<string, unknown> = {}) => ({
  authorization: `Bearer ${await tokenFor(userId, { aud: 'media', ...claims })}`,
})

type Caller = { name: string; headers: Record<string, string>; is: 'allowed' | 'stranger' | 'nobody' | 'refused' }
const callers: Caller[] = [
  { name: 'none', headers: {}, is: 'nobody' },
  { name: 'owner', headers: await bearer(owner), is: 'allowed' },
  { name: 'other', headers: await bearer(other), is: 'stranger' },
  { name: 'other, with another role', headers: await bearer(other, { role: 'admin' }), is: 'stranger' },
  { name: 'service', headers: await bearer(newUser(), { role: 'service' }), is: 'allowed' },
  { name: 'owner through the gateway', headers: through(owner), is: 'allowed' },
  { name: 'other through the gateway', headers: through(other), is: 'stranger' },
  { name: 'service through the gateway', headers: through(newUser(), 'service'), is: 'allowed' },
  { name: 'owner with a wrong gateway secret', headers: through(owner, 'user', 'wrong'), is: 'refused' },
  { name: 'owner, expired', headers: await bearer(owner, { exp: 1_700_000_000 }), is: 'refused' },
  { name: 'owner, for another audience', headers: await bearer(owner, { aud: 'chat' }), is: 'refused' },
]

const HIDDEN = '404 not_found'

/**
 * What the owner and a service get, by the object's state; where nothing is said, it is hidden from them, too. A `!`
 * means that the object is changed by it: each caller then gets one of their own.
 */
type Row = { path: (target: Target) => string; sent?: (target: Target) => Call; own: Partial<Record<State, string>> }
const at = (path: string) => (target: Target) => path.replace('{id}', target.id)
const parts = { pending: '409 state_conflict', tus: '409 state_conflict', active: '409 state_conflict' }
const complete = {
  pending: '409 upload_incomplete',
  inParts: '409 upload_incomplete',
  tus: '409 upload_incomplete',
  active: '200',
}
const offsets = { ...TUS, 'content-type': 'application/offset+octet-stream', 'upload-offset': '7' }

const ofObjects: Record<string, Row> = {
  'GET /media/{id}': { path: at('/media/{id}'), own: { active: '200' } },
  'GET /media/{id}/content': { path: at('/media/{id}/content'), own: { active: '302' } },
  'GET /media/{id}/content, a rendition': { path: at('/media/{id}/content?w=100'), own: { active: '302' } },
  'PATCH /media/{id}': {
    path: at('/media/{id}'),
    sent: () => ({ json: { originalName: 'b.jpg', visibility: 'public' } }),
    own: { active: '200!' },
  },
  'DELETE /media/{id}': { path: at('/media/{id}'), own: { active: '204!' } },
  'POST /media/{id}/restore': { path: at('/media/{id}/restore'), own: { deleted: '200!' } },
  'POST /media/{id}/complete': { path: at('/media/{id}/complete'), own: complete },
  'GET /media/{id}/parts': { path: at('/media/{id}/parts'), own: { ...parts, inParts: '200' } },
  'POST /media/{id}/parts': {
    path: at('/media/{id}/parts'),
    sent: () => ({ json: { partNumbers: [1] } }),
    own: { ...parts, inParts: '200' },
  },
  'GET /media/{id}/upload': { path: at('/media/{id}/upload'), own: { ...parts, inParts: '200' } },
  'POST /media/{id}/upload': { path: at('/media/{id}/upload'), own: { ...parts, inParts: '200' } },
  'POST /media/{id}/upload, to complete': { path: at('/media/{id}/upload?uploadId=x'), own: complete },
  'DELETE /media/{id}/upload': {
    path: at('/media/{id}/upload'),
    own: { pending: '204!', inParts: '204!', tus: '204!', active: '409 state_conflict' },
  },
  'POST /media/sign': {
    path: at('/media/sign'),
    sent: ({ key, uploadId }) => ({ json: { method: 'PUT', key, uploadId, partNumber: 1 } }),
    own: { ...parts, inParts: '200' },
  },
  'HEAD /media/tus/{id}': { path: at('/media/tus/{id}'), sent: () => ({ headers: TUS }), own: { tus: '200' } },
  'PATCH /media/tus/{id}': {
    path: at('/media/tus/{id}'),
    sent: () => ({ headers: offsets, body: 'bytes' }),
    own: { tus: '409 state_conflict' },
  },
  'DELETE /media/tus/{id}': { path: at('/media/tus/{id}'), sent: () => ({ headers: TUS }), own: { tus: '204!' } },
}

/** Calls about no object, made so that nothing comes of them: `known` is what everyone gets who is somebody. */
const others: Record<string, { path: string; sent?: Call; known: string; service?: string }> = {
  'POST /media/upload': { path: '/media/upload', known: '415 content_type_unsupported' },
  'POST /media/presign': { path: '/media/presign', sent: { json: {} }, known: '400 request_invalid' },
  'POST /media/multipart': { path: '/media/multipart', sent: { json: {} }, known: '400 request_invalid' },
  'POST /media/sign, of a new file': {
    path: '/media/sign',
    sent: { json: { method: 'POST', key: 'a' } },
    known: '400 request_invalid',
  },
  'POST /media/tus': { path: '/media/tus', known: '412 precondition_failed' },
  'GET /media': { path: '/media', known: '200' },
  // What does not end; whose events they are is told in event-streams.test.ts.
  'GET /media/events': {
    path: '/media/events',
    sent: { headers: { 'last-event-id': '?' } },
    known: '400 request_invalid',
  },
  'GET /media/usage': { path: '/media/usage', known: '200' },
  'POST /media/claim': { path: '/media/claim', sent: { json: { ids: [] } }, known: '400 request_invalid' },
  'DELETE /media': { path: `/media?userId=${newUser()}`, known: '403 forbidden', service: '202' },
  'DELETE /media, of an owner': { path: `/media?userId=${owner}`, known: '403 forbidden', service: 'not asked' },
}

/** For everyone inside, whoever they are. */
const OPEN = ['GET /health/live', 'GET /health/ready', 'GET /metrics']

const rocket = await readCorpus('accept/rocket.jpg')
const states = STATES.filter((state) => backend === 'real' || state !== 'inParts')
const targets = await Promise.all(
  states.flatMap((state) => (['private', 'public'] as const).map((visibility) => make(state, visibility))),
)
const nothing = targets.find(({ state }) => state === 'unknown')!

test('every route of the OpenAPI document is in the table', async () => {
  const { paths } = await answered<{ paths: Record<string, object> }>(200, await call('/openapi.json'))
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  const rows = [...Object.keys(ofObjects), ...Object.keys(others)].map((name) => name.split(',')[0] ?? '')
  expect([...new Set([...rows, ...OPEN])].sort()).toEqual(routes.sort())
})

test.each(Object.entries(ofObjects))(
  '%s: each caller gets the documented answer for an object in every state',
  async (name, row) => {
    const before = await everything()
    const found: Record<string, string> = {}
    const expected: Record<string, string> = {}
    for (const caller of callers) {
      const hidden = await probe(name, row, caller, nothing)
      for (const target of targets) {
        const cell = `${caller.name}: ${target.visibility} ${target.state}`
        const wanted = expectedOf(name, row, caller, target)
        const changes = wanted.endsWith('!')
        const asked = changes ? await make(target.state, target.visibility) : target
        const answer = await probe(name, row, caller, asked)
        expected[cell] = withoutCode(name, wanted.replace('!', ''))
        found[cell] = answer.outcome
        // Not in one header, nor in one word: nobody can tell what is there from what is not.
        if (caller.is !== 'allowed' && !/^[23]/.test(wanted)) expect({ cell, ...answer }).toEqual({ cell, ...hidden })
      }
    }
    expect(found).toEqual(expected)
    expect(await everything()).toEqual(before)
  },
)

test.each(Object.entries(others))(
  '%s: each caller gets the documented answer',
  async (name, { path, sent, known, service }) => {
    const before = await everything()
    for (const caller of callers) {
      const wanted = caller.name.startsWith('service') && service !== undefined ? service : known
      if (wanted === 'not asked') continue
      const { outcome } = await probe(name, { path: () => path, sent: () => sent ?? {}, own: {} }, caller, nothing)
      expect([caller.name, outcome]).toEqual([caller.name, credentialsRefused(caller) ?? wanted])
    }
    expect(await everything()).toEqual(before)
  },
)

test.each(['GET', 'POST', 'DELETE'])(
  'POST /media/sign, for a %s of Uppy: where to send it, whatever is there',
  async (method) => {
    for (const caller of callers) {
      for (const target of targets) {
        const { id, key, uploadId } = target
        const json = { method, key, uploadId }
        const { outcome, body } = await probe(
          'POST',
          { path: at('/media/sign'), sent: () => ({ json }), own: {} },
          caller,
          target,
        )
        expect([caller.name, outcome]).toEqual([caller.name, credentialsRefused(caller) ?? '200'])
        if (outcome !== '200') continue
        const address = `/media/${id}/upload?uploadId=${encodeURIComponent(uploadId)}`
        // Nothing but what the caller sent: its own token, and the ids.
        const { authorization } = caller.headers
        const headers = authorization === undefined ? {} : { authorization }
        expect(JSON.parse(body)).toEqual({ id, url: expect.stringContaining(address), headers })
      }
    }
  },
)

test('lists and usage are about the caller alone, also for a service, and by ids', async () => {
  const active = targets.filter(({ state }) => state === 'active').map(({ id }) => id)
  const ids = `?ids=${targets.map(({ id }) => id).join(',')}`
  for (const { name, headers, is } of callers.filter((caller) => caller.is === 'allowed' || caller.is === 'stranger')) {
    const own = is === 'allowed' && name.startsWith('owner')
    for (const query of [ids, '?status=active&limit=100']) {
      const { items } = await answered<Page>(200, await call(`/media${query}`, { headers }))
      const listed = items.map(({ id }) => id).filter((id) => targets.some((target) => target.id === id))
      expect([name, listed.sort()]).toEqual([name, own ? active.sort() : []])
      if (!own) expect(items).toEqual([])
    }
    const { objects } = await answered<{ objects: number }>(200, await call('/media/usage', { headers }))
    expect([name, objects > 0]).toEqual([name, own])
  }
})

function expectedOf(name: string, row: Row, caller: Caller, { state, visibility }: Target): string {
  const own = row.own[state] ?? HIDDEN
  if (caller.is === 'allowed') return own
  const readable = /^GET \/media\/\{id\}(\/content)?(,|$)/.test(name) && state === 'active' && visibility === 'public'
  if (readable && caller.is !== 'refused') return own
  return credentialsRefused(caller) ?? HIDDEN
}

function credentialsRefused({ is }: Caller): string | undefined {
  return { nobody: '401 token_missing', refused: '401 token_invalid', allowed: undefined, stranger: undefined }[is]
}

/** An answer to HEAD has no body to say more in. */
function withoutCode(name: string, outcome: string): string {
  return name.startsWith('HEAD') ? outcome.slice(0, 3) : outcome
}

/** Everything about an answer that its receiver can see, but for the id of the request and the time. */
async function probe(name: string, { path, sent }: Row, caller: Caller, target: Target) {
  const { headers, ...rest } = sent?.(target) ?? {}
  const [method = ''] = name.split(' ')
  const response = await call(path(target), { ...rest, method, headers: { ...headers, ...caller.headers } })
  const body = await response.text()
  const visible = [...response.headers].filter(([header]) => !['x-request-id', 'date'].includes(header))
  const [, code] = /"code":"(\w+)"/.exec(body) ?? []
  const outcome = code === undefined ? String(response.status) : `${response.status} ${code}`
  return { outcome, body, headers: visible.sort() }
}

/** An object of the owner, in a state. */
async function make(state: State, visibility: Visibility): Promise<Target> {
  const headers = through(owner)
  const about = { state, visibility, uploadId: 'x' }
  const post = (path: string, json: unknown) => call(path, { method: 'POST', headers, json })
  const declared = { filename: 'a.jpg', fileType: 'image/jpeg', visibility }
  if (state === 'unknown') {
    const id = uuidv7()
    return { ...about, id, key: `media/${id}/original.jpg` }
  }
  if (state === 'inParts')
    return { ...about, ...(await answered<Multipart>(200, await post('/media/multipart', { ...declared, size: MiB }))) }
  if (state === 'tus') {
    const metadata = Object.entries({ filename: 'a.jpg', filetype: 'image/jpeg', visibility })
    const described = {
      'upload-length': '99',
      'upload-metadata': metadata.map(([k, v]) => `${k} ${btoa(v)}`).join(','),
    }
    const begun = await call('/media/tus', { method: 'POST', headers: { ...headers, ...TUS, ...described } })
    expect(begun.status).toBe(201)
    const id = begun.headers.get('location')?.split('/').at(-1) ?? ''
    return { ...about, id, key: `media/${id}/original.jpg` }
  }
  if (state === 'pending' || state === 'purging') {
    const link = await answered<{ id: string; key: string }>(200, await post('/media/presign', declared))
    if (state === 'purging')
      expect((await call(`/media/${link.id}/upload`, { method: 'DELETE', headers })).status).toBe(204)
    return { ...about, id: link.id, key: link.key }
  }
  const form = multipart([
    { name: 'visibility', content: visibility },
    { name: 'file', filename: 'a.jpg', content: rocket },
  ])
  const sent = { method: 'POST', body: form.body, headers: { ...headers, ...form.headers } }
  const { id, key } = await answered<{ id: string; key: string }>(201, await call('/media/upload', sent))
  if (state === 'deleted') expect((await call(`/media/${id}`, { method: 'DELETE', headers })).status).toBe(204)
  return { ...about, id, key }
}

/** What the shared objects are, as the database has it; `links_until` and what upkeep and relay note are not theirs. */
async function everything(): Promise<unknown[]> {
  if (inside === undefined) {
    const pages = ['active', 'deleted'].map(async (status) =>
      answered<Page>(200, await call(`/media?status=${status}&limit=100`, { headers: through(owner) })),
    )
    const items = (await Promise.all(pages)).flatMap((page) => page.items)
    return items
      .filter(({ id }) => targets.some((target) => target.id === id))
      .map(({ id, originalName, visibility, status }) => [id, originalName, visibility, status])
  }
  const rows = await Promise.all(targets.map(({ id }) => inside.rowOf(id)))
  return rows.map(
    (row) =>
      row && [row.id, row.user_id, row.original_name, row.visibility, row.status, row.event_seq, row.storage_key],
  )
}
