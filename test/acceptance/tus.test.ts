import { afterAll, describe, expect, test } from 'bun:test'
import { Readable } from 'node:stream'
import { answered, expectInvalid, expectProblem, newUser, until } from '../support/http/client.ts'
import { jpegOf, MiB } from '../support/http/parts.ts'
import {
  answerIn,
  described,
  idIn,
  patchAt,
  picture,
  slowPatch,
  TUS,
  tusBroken,
  tusCalls,
  tusUpload,
  untilTaken,
} from '../support/http/tus-client.ts'
import { accepted, readCorpus } from '../support/pictures/corpus.ts'
import { openStage } from '../support/process/acceptance.ts'
import { startProxy } from '../support/process/proxy.ts'

const GATEWAY_SECRET = 'the gateway secret of the tus tests that is long enough'
const PAGE = 'https://app.example'
const MAX = 80 * MiB
const stage = await openStage({ MAX_OBJECT_BYTES: String(MAX), GATEWAY_SECRET, CORS_ORIGINS: PAGE })
afterAll(stage.close)
const { baseUrl, call, get, inside } = stage

const { create, begun, head, offsetOf, send, expectStored, expectGone } = tusCalls(stage)

describe('tus-js-client', () => {
  test('uploads a file that is then an object like every other, with one event', async () => {
    const user = newUser()
    const bytes = await jpegOf(20 * MiB)
    const metadata = { filename: '../日本 🚀.jpg', filetype: 'image/jpeg', visibility: 'public' }
    const { id, url, location } = await tusUpload(baseUrl, user, bytes, { metadata })
    expect(url).toBe(`${baseUrl}/media/tus/${id}`)
    expect(location).toBe(`${baseUrl}/media/${id}`)
    expect(await expectStored(user, id, bytes)).toMatchObject({
      id,
      userId: user,
      originalName: '日本 🚀.jpg',
      mimeType: 'image/jpeg',
      sizeBytes: bytes.length,
      key: `media/${id}/original.jpg`,
      metadata: { width: 640, height: 427, thumbHash: null, dominantColor: null },
      visibility: 'public',
      status: 'active',
    })
    if (inside === undefined) return
    expect(await inside.keys(`media/${id}/`)).toEqual([`media/${id}/original.jpg`])
    await until(async () => expect(await inside.streamed(id)).toHaveLength(1))
    expect(await inside.streamed(id)).toEqual([
      { channel: 'photo:uploaded', payload: expect.objectContaining({ id, seq: 1, sizeBytes: bytes.length }) },
    ])
  })

  test('sends pieces of whatever size it likes', async () => {
    const user = newUser()
    const bytes = await jpegOf(18 * MiB + 12_345)
    for (const chunkSize of [3 * MiB, 8 * MiB, 9 * MiB + 1]) {
      const { id, log } = await tusUpload(baseUrl, user, bytes, { chunkSize })
      expect(log.length).toBe(1 + Math.ceil(bytes.length / chunkSize))
      await expectStored(user, id, bytes)
      expect(await inside?.keys(`media/${id}/`)).toEqual(inside && [`media/${id}/original.jpg`])
    }
  })

  test('sends the first bytes with the request that begins the upload', async () => {
    const user = newUser()
    const bytes = await jpegOf(6 * MiB)
    const { id, log } = await tusUpload(baseUrl, user, bytes, { uploadDataDuringCreation: true })
    expect(log).toEqual([`POST 201 ${bytes.length}`])
    await expectStored(user, id, bytes)
  })

  test('sends a stream of which it learns the length in the end', async () => {
    const user = newUser()
    const bytes = await jpegOf(21 * MiB)
    const { id } = await tusUpload(baseUrl, user, Readable.from(inPieces(bytes, 3_000_000)), {
      uploadLengthDeferred: true,
      chunkSize: 5 * MiB,
    })
    await expectStored(user, id, bytes)
  })

  test('goes on by itself where a connection was cut, and sends no more than that part again', async () => {
    const user = newUser()
    const bytes = await jpegOf(60 * MiB)
    const proxy = await startProxy(baseUrl)
    try {
      const { id, log } = await tusUpload(proxy.url, user, bytes, {
        retryDelays: [100, 1000, 3000, 5000],
        chunkSize: 25 * MiB,
        at: { part: 0.5, act: () => proxy.cut() },
      })
      const asked = log.find((line) => line.startsWith('HEAD 200')) ?? ''
      expect(Number(asked.split(' ')[2])).toBeGreaterThan(10 * MiB)
      await expectStored(user, id, bytes)
    } finally {
      await proxy.close()
    }
  })

  test('is broken off and goes on another day from where it was', async () => {
    const user = newUser()
    const bytes = await jpegOf(40 * MiB)
    const uploadUrl = await tusBroken(baseUrl, user, bytes)
    await expectProblem(await get(user, idIn(uploadUrl)), 404, 'not_found')
    const { id, log } = await tusUpload(baseUrl, user, bytes, { uploadUrl })
    expect(Number(log[0]?.split(' ')[2])).toBeGreaterThan(0)
    await expectStored(user, id, bytes)
  })

  test('learns that an upload is complete, as often as it asks', async () => {
    const user = newUser()
    const bytes = await jpegOf(MiB)
    const { url } = await tusUpload(baseUrl, user, bytes)
    const again = await tusUpload(baseUrl, user, bytes, { uploadUrl: url })
    expect(again.log).toEqual([`HEAD 200 ${bytes.length}`])
    expect(again.location).toBe(`${baseUrl}/media/${again.id}`)
  })

  test('gives an upload up, and nothing of it is left', async () => {
    const user = newUser()
    const bytes = await jpegOf(30 * MiB)
    let url = ''
    await new Promise<void>((resolve, reject) => {
      const act = async (upload: { url: string | null; abort: (terminate: boolean) => Promise<void> }) => {
        url = upload.url ?? ''
        await upload.abort(true).then(resolve, reject)
      }
      tusUpload(baseUrl, user, bytes, { chunkSize: 9 * MiB, at: { part: 0.4, act } }).catch(reject)
    })
    await expectGone(user, idIn(url))
  })

  test('gets the type of its bytes when it is another picture than was declared, or nothing was', async () => {
    const user = newUser()
    const png = accepted.find(({ type }) => type === 'image/png')?.file ?? ''
    const bytes = await readCorpus(png)
    for (const metadata of [{ filename: 'a', filetype: 'image/jpeg' }, { filename: 'a' }]) {
      const { id } = await tusUpload(baseUrl, user, bytes, { metadata })
      expect(await (await get(user, id)).json()).toMatchObject({ mimeType: 'image/png' })
      expect(await inside?.keys(`media/${id}/`)).toEqual(inside && [expect.stringMatching(/original\.png$/)])
    }
  })

  test('is refused what a direct upload would be, and nothing of it is left', async () => {
    const user = newUser()
    const refused = async (file: string, declared: string, status: number, code: string) => {
      let id = ''
      const metadata = { filename: 'a', filetype: declared }
      const started = tusUpload(baseUrl, user, await readCorpus(file), {
        metadata,
        onBeforeRequest(request) {
          if (request.getMethod() === 'PATCH') id = idIn(request.getURL())
        },
      })
      const error = await started.then(
        () => expect.unreachable(),
        (error) => error,
      )
      expect(answerIn(error)).toEqual({ status, code })
      return id
    }
    expect(await refused('accept/rocket.jpg', 'text/plain', 415, 'media_type_unsupported')).toBe('')
    if (inside) expect(await inside.rowsOf(user)).toEqual([])
    const movie = accepted.find(({ type }) => type === 'video/mp4')?.file ?? ''
    await expectGone(user, await refused(movie, 'image/jpeg', 415, 'media_type_unsupported'))
  })
})

describe('the tus endpoint', () => {
  test('says what it can do, to everyone, and to pages of other origins', async () => {
    const answer = await call('/media/tus', { method: 'OPTIONS' })
    expect(answer.status).toBe(204)
    const said = Object.fromEntries([...answer.headers].filter(([name]) => name.startsWith('tus-')))
    expect(said).toEqual({
      'tus-resumable': '1.0.0',
      'tus-version': '1.0.0',
      'tus-max-size': String(MAX),
      'tus-extension': 'creation,creation-with-upload,creation-defer-length,termination,expiration',
    })
    const asked = { 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'tus-resumable' }
    const preflight = await call('/media/tus/x', { method: 'OPTIONS', headers: { origin: PAGE, ...asked } })
    expect(preflight.headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(preflight.headers.get('access-control-allow-headers')).toBe('tus-resumable')
    expect(preflight.headers.get('access-control-allow-methods')).toContain('PATCH')
    const user = newUser()
    const created = await create(user, picture, 10, { origin: PAGE })
    for (const name of ['Location', 'Upload-Offset', 'Upload-Length', 'Tus-Resumable', 'Media-Location'])
      expect(created.headers.get('access-control-expose-headers')?.split(',')).toContain(name)
    expect(created.headers.get('access-control-allow-origin')).toBe(PAGE)
  })

  test('speaks version 1.0.0 and says so also when it refuses', async () => {
    const user = newUser()
    const answer = await call('/media/tus', { as: user, method: 'POST', headers: { 'upload-length': '5' } })
    expect(answer.headers.get('tus-resumable')).toBe('1.0.0')
    expect(answer.headers.get('tus-version')).toBe('1.0.0')
    await expectProblem(answer, 412, 'precondition_failed')
  })

  test('knows callers as everything else does', async () => {
    const headers = { ...TUS, 'upload-length': '5', 'upload-metadata': described(picture) }
    await expectProblem(await call('/media/tus', { method: 'POST', headers }), 401, 'token_missing')
    const wrong = { ...headers, authorization: 'Bearer nonsense' }
    await expectProblem(await call('/media/tus', { method: 'POST', headers: wrong }), 401, 'token_invalid')
    const gateway = { 'x-gateway-secret': GATEWAY_SECRET, 'x-user-id': newUser() }
    const created = await call('/media/tus', { method: 'POST', headers: { ...headers, ...gateway } })
    expect(created.status).toBe(201)
  })

  test('says what is wrong with a declaration, and makes nothing of it', async () => {
    const user = newUser()
    await expectInvalid(await create(user, { filename: 'a.jpg', filetype: 'x'.repeat(128) }, 5), 'filetype')
    await expectInvalid(await create(user, { ...picture, visibility: 'secret' }, 5), 'visibility')
    await expectProblem(await create(user, picture, 0), 400, 'file_empty')
    await expectProblem(await create(user, picture, MAX + 1), 413, 'file_too_large')
    await expectProblem(await create(user, picture, -1), 400, 'request_invalid')
    await expectProblem(await create(user, picture, 5, { 'upload-concat': 'partial' }), 400, 'request_invalid')
    const long = described({ ...picture, more: 'x'.repeat(4000) })
    await expectProblem(await create(user, picture, 5, { 'upload-metadata': long }), 400, 'request_invalid')
    expect(await inside?.rowsOf(user)).toEqual(inside && [])
  })

  test('is not there for others: not to ask, to write or to end, whatever they know of it', async () => {
    const [user, other] = [newUser(), newUser()]
    const bytes = await jpegOf(MiB)
    const path = await begun(user, bytes.length)
    expect((await head(other, path)).status).toBe(404)
    await expectProblem(await send(other, path, 0, bytes), 404, 'not_found')
    await expectProblem(await call(path, { as: other, method: 'DELETE', headers: TUS }), 404, 'not_found')
    expect(await offsetOf(user, path)).toBe(0)
    expect((await send(user, path, 0, bytes)).status).toBe(204)
    expect((await head(other, path)).status).toBe(404)
  })

  test('is for uploads that were begun there', async () => {
    const user = newUser()
    const { id } = await stage.presigned(user)
    expect((await head(user, `/media/tus/${id}`)).status).toBe(404)
    await expectProblem(await send(user, `/media/tus/${id}`, 0, await jpegOf(MiB)), 404, 'not_found')
    expect((await head(user, '/media/tus/nonsense')).status).toBe(404)
  })

  test('takes bytes only where they follow on, and gives back what was said of them', async () => {
    const user = newUser()
    const bytes = await jpegOf(2 * MiB)
    const path = await begun(user, bytes.length, { ...picture, mine: 'kept' })
    expect((await send(user, path, 0, bytes.subarray(0, MiB))).headers.get('upload-offset')).toBe(String(MiB))
    await expectProblem(await send(user, path, 0, bytes), 409, 'state_conflict')
    await expectProblem(await send(user, path, MiB, bytes), 413, 'file_too_large')
    const asked = await head(user, path)
    expect(asked.headers.get('upload-metadata')).toBe(described({ ...picture, mine: 'kept' }))
    expect([asked.headers.get('upload-length'), asked.headers.get('upload-offset')]).toEqual([`${2 * MiB}`, `${MiB}`])
    expect(asked.headers.get('media-location')).toBeNull()
    const untyped = { ...patchAt(MiB).headers, 'content-type': 'image/jpeg' }
    const refused = await call(path, { as: user, method: 'PATCH', headers: untyped, body: bytes.subarray(MiB) })
    await expectProblem(refused, 415, 'content_type_unsupported')
    expect((await send(user, path, MiB, bytes.subarray(MiB))).status).toBe(204)
    await expectStored(user, idIn(path), bytes)
  })

  test('makes nothing more of an upload that is complete', async () => {
    const user = newUser()
    const bytes = await jpegOf(MiB)
    const { id, url } = await tusUpload(baseUrl, user, bytes)
    const { pathname } = new URL(url)
    const nothing = await send(user, pathname, bytes.length, new Uint8Array())
    expect([nothing.status, nothing.headers.get('upload-offset')]).toEqual([204, String(bytes.length)])
    await expectProblem(await send(user, pathname, 0, bytes), 409, 'state_conflict')
    await expectProblem(await call(pathname, { as: user, method: 'DELETE', headers: TUS }), 409, 'state_conflict')
    await expectStored(user, id, bytes)
    expect((await stage.remove(user, id)).status).toBe(204)
    expect((await head(user, pathname)).status).toBe(404)
  })

  test('does what X-HTTP-Method-Override says, for clients that know only POST', async () => {
    const user = newUser()
    const bytes = await jpegOf(MiB)
    const { id } = await tusUpload(baseUrl, user, bytes, { overridePatchMethod: true })
    await expectStored(user, id, bytes)
  })

  test('answers 405 to what tus does not know', async () => {
    const user = newUser()
    const path = await begun(user, 5)
    await expectProblem(await call(path, { as: user }), 405, 'method_not_allowed')
    await expectProblem(await call('/media/tus', { as: user }), 405, 'method_not_allowed')
    await expectProblem(await call(path, { as: user, method: 'POST', headers: TUS }), 405, 'method_not_allowed')
  })

  test('keeps what came before the connection was lost', async () => {
    const user = newUser()
    const bytes = await jpegOf(30 * MiB)
    const path = await begun(user, bytes.length)
    const patch = await slowPatch(baseUrl + path, user, { offset: 0, length: bytes.length })
    await patch.send(bytes.subarray(0, 11 * MiB))
    await untilTaken(baseUrl + path, user)
    patch.destroy()
    const offset = await offsetOf(user, path)
    expect(offset).toBe(11 * MiB)
    expect((await send(user, path, offset, bytes.subarray(offset))).status).toBe(204)
    await expectStored(user, idIn(path), bytes)
  })

  test('lets one request write at a time: another gets 423, and nothing is lost', async () => {
    const user = newUser()
    const bytes = await jpegOf(4 * MiB)
    const path = await begun(user, bytes.length)
    const first = await slowPatch(baseUrl + path, user, { offset: 0, length: bytes.length })
    await first.send(bytes.subarray(0, MiB))
    await untilTaken(baseUrl + path, user)
    await expectProblem(await send(user, path, 0, bytes), 423, 'upload_locked')
    await first.send(bytes.subarray(MiB))
    first.end()
    expect(await first.answered).toEqual({ status: 204, offset: bytes.length })
    await expectStored(user, idIn(path), bytes)
  })

  test('asks a request that has gone silent to stop when the client asks how far it is', async () => {
    const user = newUser()
    const bytes = await jpegOf(4 * MiB)
    const path = await begun(user, bytes.length)
    const silent = await slowPatch(baseUrl + path, user, { offset: 0, length: bytes.length })
    await silent.send(bytes.subarray(0, MiB))
    await untilTaken(baseUrl + path, user)
    expect(await offsetOf(user, path)).toBe(MiB)
    silent.destroy()
    expect((await send(user, path, MiB, bytes.subarray(MiB))).status).toBe(204)
    await expectStored(user, idIn(path), bytes)
  })

  test('is named in the OpenAPI document', async () => {
    const { paths } = await answered<{ paths: Record<string, object> }>(200, await call('/openapi.json'))
    expect(Object.keys(paths['/media/tus'] ?? {})).toEqual(['post'])
    expect(Object.keys(paths['/media/tus/{id}'] ?? {}).sort()).toEqual(['delete', 'head', 'patch'])
  })
})

function* inPieces(bytes: Uint8Array, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size))
}
