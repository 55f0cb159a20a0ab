import { describe, expect, test } from 'bun:test'
import { answered, expectProblem, newUser } from '../support/http/client.ts'
import { multipart } from '../support/http/multipart.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { call, upload } = await usualStage()

describe('X-Request-Id', () => {
  const idOf = async (path: string, sent?: string, as?: string) => {
    const headers = sent === undefined ? {} : { 'x-request-id': sent }
    const response = await call(path, { headers, ...(as !== undefined && { as }) })
    await response.body?.cancel()
    return response.headers.get('x-request-id')
  }

  test('is on every answer, another one each time', async () => {
    const user = newUser()
    const paths = [
      '/health/live',
      '/health/live',
      '/media',
      '/nowhere',
      '/openapi.json',
      `/media/${crypto.randomUUID()}`,
    ]
    const ids = [...(await Promise.all(paths.map((path) => idOf(path, undefined, user)))), await idOf('/media')]
    for (const id of ids) expect(id).toMatch(/^[\w-]{16,128}$/)
    expect(new Set(ids).size).toBe(ids.length)
    const uploaded = await upload(user, 'accept/rocket.jpg')
    expect(uploaded.headers.get('x-request-id')).toBeTruthy()
    await uploaded.body?.cancel()
  })

  test('is taken over from the gateway, on problems too', async () => {
    for (const sent of ['0190f3c2-7c5e-7d52-b54b-3f7c1f0e6a11', 'abc_DEF-123', 'x'.repeat(128)])
      for (const path of ['/health/live', '/media', '/nowhere']) expect(await idOf(path, sent)).toBe(sent)
  })

  test.each(['', 'with space', 'x'.repeat(129), '"><script>', 'a;b', '{"a":1}', 'é'])(
    'is another one when %p comes',
    async (sent) => {
      const id = await idOf('/media', sent)
      expect(id).toMatch(/^[\w-]{16,128}$/)
      expect(id).not.toBe(sent)
    },
  )
})

describe('a problem', () => {
  test('is RFC 9457 with a stable code, on whatever call', async () => {
    await expectProblem(await call('/media'), 401, 'token_missing')
    await expectProblem(await call('/nowhere'), 404, 'not_found')
    await expectProblem(await call('/health/live', { method: 'POST' }), 405, 'method_not_allowed')
    await expectProblem(await call('/media?limit=0', { as: newUser() }), 400, 'request_invalid')
    const empty = multipart([{ name: 'file', filename: 'a.jpg', content: '' }])
    await expectProblem(await call('/media/upload', { as: newUser(), method: 'POST', ...empty }), 400, 'file_empty')
  })

  test('is not kept by any cache', async () => {
    for (const path of ['/media', '/nowhere', `/media/${crypto.randomUUID()}/content`])
      expect((await call(path)).headers.get('cache-control')).toBe('no-store')
  })
})

describe('health', () => {
  test('live says that the process is up', async () => {
    expect(await answered<unknown>(200, await call('/health/live'))).toEqual({ status: 'live' })
  })

  test('ready says that every part can be used', async () => {
    const parts = { database: 'ok', storage: 'ok', events: 'ok' }
    expect(await answered<unknown>(200, await call('/health/ready'))).toEqual({ status: 'ready', ...parts })
  })
})

type Operation = { responses: Record<string, { content?: Record<string, unknown> }>; requestBody?: { content: object } }
type Document = { openapi: string; paths: Record<string, Record<string, Operation>> }

describe('openapi.json', () => {
  test('is OpenAPI 3.1 and lists every call', async () => {
    const { openapi, paths } = await answered<Document>(200, await call('/openapi.json'))
    expect(openapi).toStartWith('3.1')
    const calls = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    for (const described of [
      'POST /media/upload',
      'POST /media/presign',
      'POST /media/{id}/complete',
      'GET /media/{id}',
      'GET /media',
      'GET /media/{id}/content',
      'PATCH /media/{id}',
      'DELETE /media/{id}',
      'POST /media/{id}/restore',
      'GET /health/live',
      'GET /health/ready',
    ])
      expect(calls).toContain(described)
  })

  test('describes what the calls send and answer', async () => {
    const { paths } = await answered<Document>(200, await call('/openapi.json'))
    const successes = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, { responses }]) => [
        `${method} ${path}`,
        Object.keys(responses).filter((status) => status < '400'),
      ]),
    )
    expect(Object.fromEntries(successes)).toMatchObject({
      'post /media/upload': ['201'],
      'post /media/presign': ['200'],
      'post /media/{id}/complete': ['200'],
      'get /media/{id}/content': ['302'],
      'delete /media/{id}': ['204'],
    })
    expect(Object.keys(paths['/media/upload']?.post?.requestBody?.content ?? {})).toEqual(['multipart/form-data'])
    for (const [path, operations] of Object.entries(paths))
      for (const { responses } of Object.values(operations))
        for (const [status, { content = {} }] of Object.entries(responses))
          if (status >= '400' && path.startsWith('/media'))
            expect(Object.keys(content)).toEqual(['application/problem+json'])
  })

  test('knows every status that the calls answer with', async () => {
    const { paths } = await answered<Document>(200, await call('/openapi.json'))
    const documented = (path: string, method: string) => Object.keys(paths[path]?.[method]?.responses ?? {})
    expect(documented('/media/upload', 'post')).toEqual(
      expect.arrayContaining(['201', '400', '401', '413', '415', '422', '500', '503']),
    )
    expect(documented('/media/{id}/complete', 'post')).toEqual(
      expect.arrayContaining(['200', '400', '401', '404', '409', '413', '415', '422', '500', '503']),
    )
    expect(documented('/media/{id}', 'get')).toEqual(expect.arrayContaining(['200', '400', '401', '404', '503']))
  })
})
