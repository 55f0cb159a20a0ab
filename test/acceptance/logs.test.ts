import { afterAll, describe, expect, test } from 'bun:test'
import { newUser, until } from '../support/http/client.ts'
import { type Line, linesOf } from '../support/http/log-lines.ts'
import { multipart } from '../support/http/multipart.ts'
import { openRawConnection, requestHead } from '../support/http/raw-connection.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage, runtime } from '../support/process/acceptance.ts'

const stage = await openStage()
const { call, complete, presigned, put, uploaded, service, close, baseUrl } = stage
afterAll(close)

/** The line of the request that was sent with this id. */
async function lineOf(requestId: string): Promise<Line> {
  const found = await until(() => {
    const lines = linesOf(service.logs()).filter((line) => line.requestId === requestId && line.msg === 'request')
    expect(lines).not.toBeEmpty()
    return lines
  })
  expect(found).toHaveLength(1)
  return found[0]!
}

const duration = expect.any(Number)

describe('the line of a request', () => {
  test('says all about an upload, in fields that stay the same', async () => {
    const user = newUser()
    const requestId = crypto.randomUUID()
    const { body, headers } = multipart([
      { name: 'file', filename: 'a.jpg', type: 'image/jpeg', content: await readCorpus('accept/rocket.jpg') },
    ])
    const sent = { method: 'POST', as: user, body, headers: { ...headers, 'x-request-id': requestId } }
    const answer = await call('/media/upload', sent)
    const text = await answer.text()
    const line = await lineOf(requestId)
    expect(line).toEqual({
      level: 30,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      msg: 'request',
      requestId,
      method: 'POST',
      route: '/media/upload',
      status: 201,
      ms: duration,
      bytesIn: body.length,
      bytesOut: text.length,
      userId: user,
      mediaId: JSON.parse(text).id,
      databaseMs: duration,
      storeMs: duration,
      eventsMs: duration,
      imageMs: duration,
      ...(backend === 'real' && { limitsMs: duration }),
    })
    for (const part of ['databaseMs', 'storeMs', 'imageMs']) expect(line[part]).toBeGreaterThan(0)
    // The put and the insert run side by side.
    expect(line.ms).toBeGreaterThan(Math.max(Number(line.databaseMs), Number(line.storeMs)) / 2)
  })

  test('counts a body that does not announce its length', async () => {
    const requestId = crypto.randomUUID()
    const { body, headers } = multipart([
      { name: 'file', filename: 'a.jpg', content: await readCorpus('accept/rocket.jpg') },
    ])
    const chunked = new Response(body).body!
    await call('/media/upload', {
      method: 'POST',
      as: newUser(),
      body: chunked,
      headers: { ...headers, 'x-request-id': requestId },
    })
    expect(await lineOf(requestId)).toMatchObject({ status: 201, bytesIn: body.length })
  })

  test('names the object that a direct link was made for, and that its completion made', async () => {
    const user = newUser()
    const asked = crypto.randomUUID()
    const json = { filename: 'a.jpg', fileType: 'image/jpeg' }
    const made = await call('/media/presign', {
      method: 'POST',
      as: user,
      json,
      headers: { 'x-request-id': asked },
    })
    const link = await made.json()
    expect(await lineOf(asked)).toMatchObject({ mediaId: link.id, userId: user, bytesIn: JSON.stringify(json).length })
    await put(link, await readCorpus('accept/rocket.jpg'))
    const completed = await complete(user, link.id)
    const line = await lineOf(completed.headers.get('x-request-id') ?? '')
    expect(line).toMatchObject({ route: '/media/:id/complete', status: 200, mediaId: link.id, eventsMs: duration })
  })

  test('names the object that an earlier attempt with the same Idempotency-Key made', async () => {
    const user = newUser()
    const send = (requestId: string) =>
      call('/media/presign', {
        method: 'POST',
        as: user,
        json: { filename: 'a.jpg', fileType: 'image/jpeg' },
        headers: { 'idempotency-key': 'once', 'x-request-id': requestId },
      })
    const { id } = await (await send(crypto.randomUUID())).json()
    const again = crypto.randomUUID()
    await send(again)
    expect(await lineOf(again)).toMatchObject({ mediaId: id })
  })

  test('has the code of a refusal, and only the known facts about the caller and the object', async () => {
    const { id } = await uploaded(newUser())
    const stranger = newUser()
    const refused = await call(`/media/${id}`, { as: stranger, method: 'DELETE' })
    expect(await lineOf(refused.headers.get('x-request-id') ?? '')).toMatchObject({
      route: '/media/:id',
      method: 'DELETE',
      status: 404,
      code: 'not_found',
      userId: stranger,
      mediaId: id,
    })
    const unknown = await call(`/media/${id}/complete`, { method: 'POST' })
    const line = await lineOf(unknown.headers.get('x-request-id') ?? '')
    expect(line).toMatchObject({ status: 401, code: 'token_missing', mediaId: id })
    expect(line).not.toHaveProperty('userId')
    expect(line).not.toHaveProperty('databaseMs')
  })

  test('never has the path or the query as they were sent', async () => {
    for (const path of [
      '/media/hush-1/nothing?a=hush-2',
      '/hush-3',
      '/media/hush-4',
      '/files/hush-5?signature=hush-6',
    ]) {
      const answer = await call(path, { as: newUser() })
      await lineOf(answer.headers.get('x-request-id') ?? '')
    }
    expect(service.logs()).not.toContain('hush')
  })

  test('knows methods by name only if there are such', async () => {
    const connection = await openRawConnection(baseUrl)
    await connection.send(requestHead('PROPFIND /media', {}))
    const answer = await connection.answer()
    connection.destroy()
    expect(await lineOf(answer.headers.get('x-request-id') ?? '')).toMatchObject({ method: 'other', status: 405 })
    const { id } = await uploaded(newUser())
    const head = await call(`/media/${id}`, { method: 'HEAD' })
    const line = { method: 'HEAD', route: '/media/:id', status: 401, bytesOut: 0 }
    expect(await lineOf(head.headers.get('x-request-id') ?? '')).toMatchObject(line)
  })

  test('belongs to the trace that the gateway names, if that is one', async () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    const send = (traceparent: string) => call('/media', { as: newUser(), headers: { traceparent } })
    const part = await send(`00-${traceId}-b7ad6b7169203331-01`)
    expect(await lineOf(part.headers.get('x-request-id') ?? '')).toMatchObject({ traceId })
    for (const none of [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`, `ff-${traceId}-b7ad6b7169203331-01`, 'hush']) {
      const answer = await send(none)
      expect(await lineOf(answer.headers.get('x-request-id') ?? '')).not.toHaveProperty('traceId')
    }
  })

  test('is there for each of many requests at once, with what each of them did', async () => {
    const user = newUser()
    const link = await presigned(user)
    await put(link, await readCorpus('accept/rocket.jpg'))
    await complete(user, link.id)
    const asked = Array.from({ length: 40 }, (_, i) => ({ requestId: crypto.randomUUID(), deletes: i === 20 }))
    await Promise.all(
      asked.map(({ requestId, deletes }) =>
        call(deletes ? `/media/${link.id}` : '/media', {
          as: user,
          method: deletes ? 'DELETE' : 'GET',
          headers: { 'x-request-id': requestId },
        }),
      ),
    )
    for (const { requestId, deletes } of asked) {
      const line = await lineOf(requestId)
      expect([line.status, 'eventsMs' in line, line.mediaId]).toEqual(
        deletes ? [204, true, link.id] : [200, false, undefined],
      )
    }
  })
})

test('the start is logged with what was found, and which settings have not been given', async () => {
  const started = linesOf(service.logs()).find(({ msg }) => msg === 'service: started')
  const real = {
    database: { name: 'postgres', version: expect.stringMatching(/^\d+\.\d+/) },
    storage: {
      name: 's3',
      endpoint: expect.any(String),
      server: 'MinIO',
      enforces: { once: true, checksum: true, whole: true },
    },
    events: { name: 'redis', version: expect.stringMatching(/^\d+\.\d+/) },
  }
  const embedded = {
    database: { name: 'pglite', version: expect.stringMatching(/^\d+\.\d+/) },
    storage: { name: 'disk', enforces: { once: true, checksum: true, whole: true } },
    events: { name: 'memory' },
  }
  expect(started).toMatchObject(backend === 'real' ? real : embedded)
  expect(started?.runtime).toStartWith(runtime)
  expect(started?.defaults).toContain('MAX_UPLOAD_BYTES')
  expect(started?.defaults).not.toContain('PORT')
})
