import { afterAll, beforeAll, beforeEach, describe, expect, spyOn, test } from 'bun:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { createAuthenticate } from '../../src/auth/auth.ts'
import { developmentToken } from '../../src/auth/development.ts'
import { connect } from '../../src/db/connect.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { type AppDeps, createApp } from '../../src/http/app.ts'
import { createUploadMemory } from '../../src/http/body/memory.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { createRenditionLinks } from '../../src/media/renditions/links.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { createRequestLog } from '../../src/observe/request-log.ts'
import { createDiskStorage } from '../../src/storage/disk/storage.ts'
import { DEFAULT_AUTH } from '../support/http/authentication.ts'
import { domainOn } from '../support/media/domain.ts'
import { DEFAULT_TYPES } from '../support/pictures/corpus.ts'
import { createRecordingLog, type Line } from '../support/process/recording-log.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

const SECRET = 'a secret of thirty-two characters'
const ID = '019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11'
const limits = {
  maxUploadBytes: 1000,
  maxObjectBytes: 1000,
  renditionSizes: [160, 320],
  signedUrlSeconds: 900,
  uploadUrlSeconds: 900,
  quotas: NO_QUOTAS,
}

// The service on a database that does not answer: what is asked here does not get that far, or is about just that.
const sql = connect({ url: 'postgres://nobody@127.0.0.1:1/none' })
let folder: Folder
let deps: AppDeps
let lines: Line[]
let authorization: string
beforeAll(async () => {
  folder = await createFolder()
  authorization = `Bearer ${await developmentToken(SECRET)}`
})
afterAll(async () => {
  await sql.end({ timeout: 1 })
  await folder.remove()
})
beforeEach(async () => {
  const recording = createRecordingLog()
  const { log } = recording
  lines = recording.lines
  const now = Date.now
  const disk = await createDiskStorage({ root: folder.path, linkSecret: SECRET, maxBytes: 1000, now })
  const repository = createRepository({ sql, pendingSeconds: 100, retentionSeconds: 100 })
  const events = createMemoryEventBus()
  const allowedTypes = DEFAULT_TYPES
  const { media, liveEvents } = domainOn({ repository, storage: disk, events, log }, limits)
  deps = {
    media,
    limiter: undefined,
    trustedProxies: 0,
    userIds: DEFAULT_AUTH.userIds,
    authenticate: createAuthenticate({ ...DEFAULT_AUTH, jwtSecret: SECRET }),
    publicBaseUrl: undefined,
    maxUploadBytes: limits.maxUploadBytes,
    fileLimits: { ...limits, allowedTypes },
    renditionLinks: createRenditionLinks({ secret: SECRET, sizes: limits.renditionSizes, seconds: 900, now }),
    uploadMemory: createUploadMemory(1024 * 1024),
    console: {
      ...{ storage: disk, developmentToken: undefined, publicBaseUrl: undefined, cdnBaseUrl: undefined },
      ...{ allowedTypes, maxObjectBytes: limits.maxObjectBytes, retentionSeconds: 100 },
    },
    corsOrigins: [],
    liveEvents,
    checks: { database: async () => {}, storage: async () => {}, events: async () => {} },
    metrics: { text: async () => '', contentType: 'text/plain' },
    stopping: () => false,
    closing: () => false,
    disk,
    onRequest: createRequestLog({ log, trusted: log }),
  }
})

const ask = (method: string, path: string, headers: Record<string, string> = {}, some: Partial<AppDeps> = {}) =>
  createApp({ ...deps, ...some }).request(path, { method, headers })
const codeOf = async (answer: Response) => (await answer.json()).code

describe('an address', () => {
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
  test.each([
    ['/media', ['DELETE', 'GET', 'HEAD']],
    ['/media/usage', ['GET', 'HEAD']],
    ['/media/events', ['GET', 'HEAD']],
    ['/media/upload', ['POST']],
    ['/media/presign', ['POST']],
    [`/media/${ID}`, ['DELETE', 'GET', 'HEAD', 'PATCH']],
    [`/media/${ID}/complete`, ['POST']],
    [`/media/${ID}/restore`, ['POST']],
    [`/media/${ID}/content`, ['GET', 'HEAD']],
    ['/files/media/a/original.jpg', ['GET', 'HEAD', 'PUT']],
    ['/health/live', ['GET', 'HEAD']],
    ['/metrics', ['GET', 'HEAD']],
    ['/health/ready', ['GET', 'HEAD']],
    ['/openapi.json', ['GET', 'HEAD']],
    ['/docs', ['GET', 'HEAD']],
    ['/docs/start.js', ['GET', 'HEAD']],
    ['/console', ['GET', 'HEAD']],
    ['/console/icon.svg', ['GET', 'HEAD']],
    ['/console/session', ['POST']],
  ])('%s answers other methods than its own with 405 and Allow', async (path, allowed) => {
    for (const method of methods) {
      const answer = await ask(method, path)
      const refused = answer.status === 405
      expect({ method, refused }).toEqual({ method, refused: !allowed.includes(method) })
      if (refused) expect(answer.headers.get('allow')).toBe(allowed.join(', '))
      if (refused && method !== 'HEAD') expect(await codeOf(answer)).toBe('method_not_allowed')
    }
  })

  test.each(['/', '/medias', '/media/', `/media/${ID}/`, `/media/${ID}/nothing`, `/media//${ID}`, '/health', '/MEDIA'])(
    '%s, where nothing is, answers every method with 404',
    async (path) => {
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
        const answer = await ask(method, path)
        expect([answer.status, await codeOf(answer)]).toEqual([404, 'not_found'])
      }
    },
  )

  test('below /files exists only where the disk store serves its own links', async () => {
    expect((await ask('GET', '/files/x', {}, { disk: undefined })).status).toBe(404)
    expect((await ask('GET', '/files/x')).status).toBe(403)
  })
})

describe('an answer', () => {
  test('has a request id of its own, or that of the gateway when it is sane', async () => {
    for (const path of ['/health/live', '/nothing', '/media']) {
      expect((await ask('GET', path)).headers.get('x-request-id')).toMatch(/^[\w-]{8,}$/)
      expect((await ask('GET', path, { 'x-request-id': 'from-gateway_1' })).headers.get('x-request-id')).toBe(
        'from-gateway_1',
      )
    }
    for (const insane of ['a b', '<script>', 'x'.repeat(129), ''])
      expect((await ask('GET', '/nothing', { 'x-request-id': insane })).headers.get('x-request-id')).not.toBe(insane)
  })

  test('to an anonymous client is 401 on every route for callers', async () => {
    for (const [method, path] of [
      ['GET', '/media'],
      ['POST', '/media/upload'],
      ['POST', '/media/presign'],
      ['DELETE', `/media/${ID}`],
    ] as const) {
      const answer = await ask(method, path)
      expect([answer.status, await codeOf(answer)]).toEqual([401, 'token_missing'])
    }
  })

  test('about a database that is down is 503, with the reason in the log only', async () => {
    const answer = await ask('GET', `/media/${ID}`, { authorization })
    expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true])
    const text = await answer.text()
    expect(JSON.parse(text).code).toBe('database_unavailable')
    expect(text).not.toContain('127.0.0.1')
    expect(lines.filter(({ level }) => level === 50)).toMatchObject([
      {
        msg: 'request',
        route: '/media/:id',
        status: 503,
        code: 'database_unavailable',
        err: { message: expect.any(String) },
      },
    ])
  })

  test.each([
    ['GET', '/media/not-a-uuid', 'id'],
    ['GET', '/media?limit=101', 'limit'],
    ['GET', '/media?limit=0', 'limit'],
    ['GET', '/media?limit=x', 'limit'],
    ['GET', '/media?cursor=x', 'cursor'],
    ['GET', '/media?status=pending', 'status'],
    ['GET', '/media?type=jpeg', 'type'],
    ['GET', '/media?color=red', 'color'],
    ['GET', `/media?ids=${ID},x`, 'ids.1'],
    ['GET', `/media?ids=${ID}&limit=5`, 'ids'],
    ['GET', `/media?ids=${Array.from({ length: 101 }, () => ID)}`, 'ids'],
  ])('to %s %s names the field that is wrong', async (method, path, field) => {
    const answer = await ask(method, path, { authorization })
    expect(answer.status).toBe(400)
    const { code, errors } = await answer.json()
    expect(code).toBe('request_invalid')
    expect(errors.map((error: { field: string }) => error.field)).toContain(field)
  })

  test.each([
    ['{', undefined],
    ['[]', undefined],
    ['{}', ['fileType', 'filename']],
    [
      '{"filename":"","fileType":7,"size":0,"sha256":"x","visibility":"all"}',
      ['fileType', 'filename', 'sha256', 'size', 'visibility'],
    ],
    ['{"filename":"a.jpg","fileType":"image/jpeg","owner":"me","admin":true}', ['admin', 'owner']],
  ])('to presign with %s names every field that is wrong', async (body, fields) => {
    const headers = { authorization, 'content-type': 'application/json' }
    const answer = await createApp(deps).request('/media/presign', { method: 'POST', headers, body })
    expect(answer.status).toBe(400)
    const { code, errors } = await answer.json()
    expect(code).toBe('request_invalid')
    if (fields) expect(errors.map((error: { field: string }) => error.field).sort()).toEqual(fields)
  })
})

describe('readiness', () => {
  const down = async () => Promise.reject(new Error('down'))
  const ready = async (checks: Partial<AppDeps['checks']>, stopping = false) => {
    const answer = await ask(
      'GET',
      '/health/ready',
      {},
      { checks: { ...deps.checks, ...checks }, stopping: () => stopping },
    )
    expect(Number(answer.headers.get('retry-after')) > 0).toBe(answer.status === 503)
    return { code: answer.status, ...(await answer.json()) }
  }
  const fine = { database: 'ok', storage: 'ok', events: 'ok' }

  test('is 503 without database or store, 200 without Redis, and says which', async () => {
    expect(await ready({})).toEqual({ code: 200, status: 'ready', ...fine })
    expect(await ready({ database: down })).toEqual({ code: 503, status: 'not_ready', ...fine, database: 'down' })
    expect(await ready({ storage: down })).toEqual({ code: 503, status: 'not_ready', ...fine, storage: 'down' })
    expect(await ready({ events: down })).toEqual({ code: 200, status: 'ready', ...fine, events: 'degraded' })
  })

  test('is 503 once the process stops, and liveness stays', async () => {
    expect(await ready({}, true)).toEqual({ code: 503, status: 'stopping', ...fine })
    expect((await ask('GET', '/health/live', {}, { stopping: () => true })).status).toBe(200)
  })
})

test('once the parts are being closed every request is refused, to be sent again', async () => {
  for (const path of ['/media', '/health/live', '/nothing']) {
    const answer = await ask('GET', path, { authorization }, { closing: () => true })
    expect([answer.status, answer.headers.get('retry-after'), await codeOf(answer)]).toEqual([503, '1', 'overloaded'])
  }
})

describe('pages of other origins', () => {
  const corsOrigins = ['https://app.example']
  const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' }

  test('may call when they are listed, and read what they need, also from refusals', async () => {
    for (const path of ['/health/live', '/nothing', '/media']) {
      const { headers } = await ask('GET', path, { origin: 'https://app.example' }, { corsOrigins })
      expect(headers.get('access-control-allow-origin')).toBe('https://app.example')
      expect(headers.get('access-control-expose-headers')).toContain('Location')
      expect(headers.get('vary')).toContain('Origin')
    }
    const { status, headers } = await ask(
      'OPTIONS',
      '/media/upload',
      { ...preflight, origin: 'https://app.example' },
      { corsOrigins },
    )
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-methods')).toContain('PATCH')
    expect(headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization')
  })

  test('may not when they are not, or when none are', async () => {
    const stranger = { ...preflight, origin: 'https://evil.example' }
    for (const [method, some] of [
      ['GET', { corsOrigins }],
      ['OPTIONS', { corsOrigins }],
      ['GET', {}],
      ['OPTIONS', {}],
    ] as const) {
      const { headers } = await ask(method, '/media', stranger, some)
      expect(headers.get('access-control-allow-origin')).toBeNull()
    }
  })
})

describe('a JSON body that breaks off', () => {
  test.each([{ 'content-length': '50' }, {}])('is a problem of the client, announced or not (%j)', async (length) => {
    const body = new ReadableStream({
      pull(controller) {
        controller.error(new DOMException('The connection was closed.', 'AbortError'))
      },
    })
    const headers = { authorization, 'content-type': 'application/json', ...length }
    const answer = await createApp(deps).request('/media/presign', { method: 'POST', headers, body })
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'request_invalid'])
  })
})

describe('the OpenAPI document', () => {
  const document = async () => (await ask('GET', '/openapi.json', {}, { disk: undefined })).json()

  test('names the service in its examples as the settings do, not as the request', async () => {
    const publicBaseUrl = 'https://media.example.com/under/a/path'
    const answer = await ask('GET', '/openapi.json', { host: 'evil.example' }, { publicBaseUrl })
    const text = await answer.text()
    expect(text).toContain(`${publicBaseUrl}/media/upload`)
    expect(text).not.toContain('evil.example')
    expect(text).not.toContain('localhost')
  })

  test('is built once, and tells each request its own origin', async () => {
    const app = createApp({ ...deps, disk: undefined })
    const built = spyOn(app, 'getOpenAPI31Document')
    for (const host of ['one.example', 'two.example', 'one.example']) {
      const answer = await app.request(`http://${host}/openapi.json`)
      expect(answer.headers.get('content-type')).toContain('application/json')
      const text = JSON.stringify(await answer.json())
      expect(text).toContain(`http://${host}/media/upload`)
      expect(text).not.toContain('.invalid')
    }
    expect(built).toHaveBeenCalledTimes(1)
  })

  test('is valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(await document())).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
  })

  test('lists exactly the routes that answer, but for itself and the pages', async () => {
    const { paths } = await document()
    const listed = Object.entries<object>(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const routes = createApp({ ...deps, disk: undefined }).routes.filter(({ method }) => method !== 'ALL')
    const answering = new Set(routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`))
    for (const path of ['/openapi.json', '/docs', '/docs/{file}', '/console', '/console/{file}'])
      expect(answering.delete(`GET ${path}`)).toBe(true)
    expect(answering.delete('POST /console/session')).toBe(true)
    expect(listed.sort()).toEqual([...answering].sort())
  })

  test('says of every operation what it is for, and of every answer a status that the catalogue has', async () => {
    const { paths } = await document()
    const operations = Object.values<Record<string, Operation>>(paths).flatMap((path) => Object.values(path))
    expect(operations.length).toBeGreaterThan(10)
    for (const { summary, responses } of operations) {
      expect(summary).toMatch(/\w/)
      expect(Object.keys(responses).some((status) => /^[23]/.test(status))).toBe(true)
    }
  })
})

describe('an answer under /media', () => {
  const media = () => ({
    ...deps.media,
    owners: { ...deps.media.owners, usage: async () => ({ bytes: 1, objects: 2, purging: 0, ...NO_QUOTAS }) },
    objects: { ...deps.media.objects, remove: async () => {} },
  })

  test('is for nobody to keep, and is made once: a second answer would make a stream of the first', async () => {
    const Whole = globalThis.Response
    let made = 0
    globalThis.Response = class extends Whole {
      constructor(...given: ConstructorParameters<typeof Whole>) {
        super(...given)
        made += 1
      }
    }
    try {
      for (const [method, path, status] of [
        ['GET', '/media/usage', 200],
        ['DELETE', `/media/${ID}`, 204],
        ['GET', '/media/x', 400],
      ] as const) {
        made = 0
        const answer = await ask(method, path, { authorization }, { media: media() })
        expect(answer.status).toBe(status)
        expect(answer.headers.get('cache-control')).toBe('no-store')
        expect(made).toBe(1)
      }
    } finally {
      globalThis.Response = Whole
    }
  })
})

type Operation = { summary: string; responses: Record<string, unknown> }
