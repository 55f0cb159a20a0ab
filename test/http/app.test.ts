import { describe, expect, test } from 'bun:test'
import { type AppDeps, createApp } from '../../src/http/app.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { offlineApp } from '../support/http/offline-app.ts'

const ID = '019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11'
const app = offlineApp()
const { ask } = app
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
    const answer = await ask('GET', `/media/${ID}`, { authorization: app.authorization })
    expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true])
    const text = await answer.text()
    expect(JSON.parse(text).code).toBe('database_unavailable')
    expect(text).not.toContain('127.0.0.1')
    expect(app.lines.filter(({ level }) => level === 50)).toMatchObject([
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
    const answer = await ask(method, path, { authorization: app.authorization })
    expect(answer.status).toBe(400)
    const { code, errors } = await answer.json()
    expect(code).toBe('request_invalid')
    expect(errors.map((error: { field: string }) => error.field)).toContain(field)
  })

  test.each([
    ['{', undefined],
    ['[]', undefined],
    ['{}', ['filename']],
    [
      '{"filename":"","fileType":7,"size":0,"sha256":"x","visibility":"all"}',
      ['fileType', 'filename', 'sha256', 'size', 'visibility'],
    ],
    ['{"filename":"a.jpg","fileType":"image/jpeg","owner":"me","admin":true}', ['admin', 'owner']],
  ])('to presign with %s names every field that is wrong', async (body, fields) => {
    const headers = { authorization: app.authorization, 'content-type': 'application/json' }
    const answer = await createApp(app.deps).request('/media/presign', { method: 'POST', headers, body })
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
      { checks: { ...app.deps.checks, ...checks }, stopping: () => stopping },
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
    const answer = await ask('GET', path, { authorization: app.authorization }, { closing: () => true })
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
    const headers = { authorization: app.authorization, 'content-type': 'application/json', ...length }
    const answer = await createApp(app.deps).request('/media/presign', { method: 'POST', headers, body })
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'request_invalid'])
  })
})

describe('an answer under /media', () => {
  const media = () => ({
    ...app.deps.media,
    owners: { ...app.deps.media.owners, usage: async () => ({ bytes: 1, objects: 2, purging: 0, ...NO_QUOTAS }) },
    objects: { ...app.deps.media.objects, remove: async () => {} },
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
        const answer = await ask(method, path, { authorization: app.authorization }, { media: media() })
        expect(answer.status).toBe(status)
        expect(answer.headers.get('cache-control')).toBe('no-store')
        expect(made).toBe(1)
      }
    } finally {
      globalThis.Response = Whole
    }
  })
})
