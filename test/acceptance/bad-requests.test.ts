import { describe, expect, test } from 'bun:test'
import { answered, expectInvalid, expectProblem, type MediaObject, newUser, tokenFor } from '../support/http/client.ts'
import { openRawConnection, requestHead } from '../support/http/raw-connection.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { baseUrl, call, inside, patch, presign, uploaded } = await usualStage()

const user = newUser()
const unknown = crypto.randomUUID()

describe('a call that takes JSON', () => {
  const jsonCalls = [
    ['POST', '/media/presign'],
    ['PATCH', `/media/${unknown}`],
  ] as const

  test.each(jsonCalls)('%s %s refuses other content types', async (method, path) => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'text/json', '']) {
      const response = await call(path, { as: user, method, headers: { 'content-type': type }, body: '{}' })
      await expectProblem(response, 415, 'content_type_unsupported')
    }
  })

  // RFC 9110, section 5.6.6: white space before and after the semicolon, quotes, and no parameter at all.
  test.each([
    'application/json ; charset=utf-8',
    'Application/JSON\t;\tcharset="utf-8"',
    'application/json;',
    'application/json; a="b;c"; charset=utf-8',
  ])('takes what is %s', async (type) => {
    const body = JSON.stringify({ filename: 'a.jpg', fileType: 'image/jpeg' })
    const headers = { 'content-type': type }
    const sent = { as: user, method: 'POST', headers }
    await answered(200, await call('/media/presign', { ...sent, body }))
    // Chunked, as a stream is sent.
    await answered(200, await call('/media/presign', { ...sent, body: new Blob([body]).stream() }))
    const large = new Blob([' '.repeat(70_000), body])
    await expectProblem(await call('/media/presign', { ...sent, body: large }), 413, 'body_too_large')
    await expectProblem(await call('/media/presign', { ...sent, body: large.stream() }), 413, 'body_too_large')
  })

  test.each(jsonCalls)('%s %s refuses a body that is missing', async (method, path) => {
    await expectProblem(await call(path, { as: user, method }), 415, 'content_type_unsupported')
    const headers = { 'content-type': 'application/json' }
    await expectProblem(await call(path, { as: user, method, headers, body: '' }), 400, 'request_invalid')
  })

  test.each(jsonCalls)('%s %s refuses what is no JSON object', async (method, path) => {
    const headers = { 'content-type': 'application/json; charset=utf-8' }
    for (const body of ['{', '{"filename":', 'nonsense', '[]', 'null', '"text"', '7', '{}{}', '\0', "{'a':1}"]) {
      const response = await call(path, { as: user, method, headers, body })
      await expectProblem(response, 400, 'request_invalid')
    }
  })

  test('names fields by where they are', async () => {
    await expectInvalid(
      await presign(user, { filename: ['a'], fileType: { a: 1 }, size: '7', sha256: 'g'.repeat(64) }),
      'filename',
      'fileType',
      'size',
      'sha256',
    )
  })

  test('knows no field called __proto__', async () => {
    const headers = { 'content-type': 'application/json' }
    const body = '{"filename":"a.jpg","fileType":"image/jpeg","__proto__":{"visibility":"public"}}'
    await expectInvalid(await call('/media/presign', { as: user, method: 'POST', headers, body }), '__proto__')
  })
})

describe('an id that is no UUID is 400', () => {
  const routes = [
    ['GET', ''],
    ['GET', '/content'],
    ['PATCH', ''],
    ['DELETE', ''],
    ['POST', '/complete'],
    ['POST', '/restore'],
  ] as const
  test.each(routes)('%s /media/:id%s', async (method, suffix) => {
    for (const id of ['7', `${unknown}0`, unknown.replaceAll('-', ''), '%00', `${unknown}%00`, '%E0%A4', "'"]) {
      const sent = method === 'PATCH' ? { json: { originalName: 'a' } } : {}
      await expectInvalid(await call(`/media/${id}${suffix}`, { as: user, method, ...sent }), 'id')
    }
  })
})

describe('NUL and control characters', () => {
  test('are taken out of the names of files', async () => {
    const { id } = await uploaded(user)
    for (const [originalName, stored] of [
      ['a\0b\u0001\u001b\u007f\u0085.jpg', 'ab.jpg'],
      ['\0', 'untitled'],
      ['\n\t ', 'untitled'],
      ['lone\ud800.jpg', 'lone\ufffd.jpg'],
    ])
      expect((await answered<MediaObject>(200, await patch(user, id, { originalName }))).originalName).toBe(
        stored ?? '',
      )
    const link = await answered<{ id: string }>(
      200,
      await presign(user, { filename: 'a\0\u0007.jpg', fileType: 'image/jpeg' }),
    )
    if (inside !== undefined) expect((await inside.rowOf(link.id))?.original_name).toBe('a.jpg')
  })

  test('are refused anywhere else', async () => {
    await expectProblem(await presign(user, { filename: 'a', fileType: 'image/jpeg\0' }), 415, 'media_type_unsupported')
    await expectInvalid(
      await presign(user, { filename: 'a', fileType: 'image/png', visibility: 'public\0' }),
      'visibility',
    )
    await expectInvalid(await presign(user, { filename: 'a', fileType: 'image/png', 'a\0': 1 }), 'a\0')
    await expectInvalid(await call('/media?a%00=1', { as: user }), 'a\0')
    await expectInvalid(await call('/media?limit=5%00', { as: user }), 'limit')
    await expectInvalid(await call(`/media?cursor=${unknown}%00`, { as: user }), 'cursor')
    await expectInvalid(await call('/media?type=image/png%0A', { as: user }), 'type')
    await expectProblem(await call('/%00', { as: user }), 404, 'not_found')
    await expectProblem(await call('/media%00', { as: user }), 404, 'not_found')
  })

  test('do no harm in a header', async () => {
    const connection = await openRawConnection(baseUrl)
    await connection.send(requestHead('GET /media', { authorization: 'Bearer a\x01b', 'x-request-id': 'a\x7fb' }))
    const { status } = await connection.answer()
    connection.destroy()
    expect([400, 401]).toContain(status)
    expect((await call('/health/live')).status).toBe(200)
  })
})

describe('a method that a path does not have is 405 and says which it has:', () => {
  test.each([
    ['/media', 'DELETE, GET, HEAD', ['POST', 'PUT', 'PATCH', 'OPTIONS']],
    ['/media/upload', 'POST', ['PUT']],
    [`/media/${unknown}`, 'DELETE, GET, HEAD, PATCH', ['POST', 'PUT']],
    [`/media/${unknown}/content`, 'GET, HEAD', ['POST', 'DELETE']],
    [`/media/${unknown}/complete`, 'POST', ['GET', 'HEAD', 'DELETE']],
    [`/media/${unknown}/restore`, 'POST', ['GET', 'PATCH']],
    ['/health/live', 'GET, HEAD', ['POST']],
    ['/health/ready', 'GET, HEAD', ['DELETE']],
    ['/openapi.json', 'GET, HEAD', ['POST']],
  ])('%s', async (path, allow, methods) => {
    for (const method of methods) {
      const response = await call(path, { as: user, method })
      const named = response.headers.get('allow')?.split(', ') ?? []
      for (const allowed of allow.split(', ')) expect(named).toContain(allowed)
      expect(named).not.toContain(method)
      if (method === 'HEAD') expect(response.status).toBe(405)
      else await expectProblem(response, 405, 'method_not_allowed')
    }
  })
})

test.each([
  '/',
  '/medias',
  '/media/',
  `/media/${unknown}/`,
  `/media/${unknown}/contents`,
  `/media/${unknown}/content/x`,
  '/MEDIA',
  '/health',
  '/.env',
  '/media/upload/../../src/main.ts',
  '/constructor',
])('%s is 404', async (path) => {
  for (const method of ['GET', 'POST', 'DELETE'])
    await expectProblem(await call(path, { as: user, method }), 404, 'not_found')
})

test('a body that is shorter than its Content-Length leaves the service as it was', async () => {
  const connection = await openRawConnection(baseUrl)
  const authorization = `Bearer ${await tokenFor(user)}`
  const headers = { authorization, 'content-type': 'application/json', 'content-length': '1000' }
  await connection.send(requestHead('POST /media/presign', headers))
  await connection.send('{"filename":"a.jpg","fileType":"image/jpeg"}')
  connection.destroy()
  expect((await call('/health/live')).status).toBe(200)
})
