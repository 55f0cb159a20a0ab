import { afterAll, describe, expect, test } from 'bun:test'
import {
  answered,
  expectBytes,
  expectProblem,
  type MediaObject,
  newUser,
  type Presigned,
  type SignedMediaObject,
} from '../support/http/client.ts'
import type { Multipart } from '../support/http/parts.ts'
import { TUS } from '../support/http/tus-client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

const PAGE = 'https://app.example.test'
const { call, complete, get, patch, presign, presigned, put, remove, restore, upload, uploaded, close } =
  await openStage({
    ALLOWED_TYPES: 'image/jpeg,image/gif,video/mp4,application/pdf,text/csv,image/svg+xml',
    CORS_ORIGINS: `${PAGE},http://localhost:3000`,
  })
afterAll(close)

const files = [
  { file: 'accept/jpeg-with-html-comment.jpg', type: 'image/jpeg', shown: true },
  { file: 'made/javascript-in-comment.gif', type: 'image/gif', shown: true },
  { file: 'accept/clip.mp4', type: 'video/mp4', shown: true },
  { file: 'refuse/document.pdf', type: 'application/pdf', shown: false },
]

test.each([
  { name: 'table.csv', type: 'text/csv', text: 'name,größe\r\n<script>,1\r\n' },
  {
    name: 'drawing.svg',
    type: 'image/svg+xml',
    text: '<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
  },
])('$type is never displayed, whichever way it came in', async ({ name, type, text }) => {
  const user = newUser()
  const bytes = Buffer.from(text)
  const direct = await answered<MediaObject>(201, await upload(user, bytes, { name, type: `${type}; charset=utf-8` }))
  const link = await presigned(user, { filename: name, fileType: type })
  expect((await put(link, bytes)).status).toBe(200)
  expect((await complete(user, link.id)).status).toBe(200)
  for (const id of [direct.id, link.id]) {
    const { signedUrl, mimeType } = await answered<SignedMediaObject>(200, await get(user, id))
    expect(mimeType).toBe(type)
    const served = await fetch(signedUrl)
    expect(served.headers.get('content-disposition')).toBe('attachment')
    expect(served.headers.get('content-type')).toBe(type)
    await expectBytes(served, bytes)
  }
})

describe.each(files)('$file', ({ file, type, shown }) => {
  const disposition = shown ? 'inline' : 'attachment'

  test(`is served as ${type} and ${disposition}, whatever it was declared as`, async () => {
    const user = newUser()
    const bytes = await readCorpus(file)
    const sent = await upload(user, bytes, { name: 'page.html', type: 'text/html' })
    await expectServed(user, (await answered<MediaObject>(201, sent)).id, bytes)
  })

  test(`is served so, too, when it was sent to the store`, async () => {
    const user = newUser()
    const bytes = await readCorpus(file)
    const link = await presigned(user, { filename: 'page.html', fileType: type })
    expect((await put(link, bytes)).status).toBe(200)
    expect((await complete(user, link.id)).status).toBe(200)
    await expectServed(user, link.id, bytes)
  })

  test('is saved under its name with ?download', async () => {
    const user = newUser()
    const { id } = await answered<MediaObject>(201, await upload(user, file, { name: 'nünü "x".html' }))
    const content = await call(`/media/${id}/content?download`, { as: user })
    const saved = await fetch(content.headers.get('location') ?? '')
    expect(saved.headers.get('content-type')).toBe(type)
    expect(saved.headers.get('content-disposition')).toMatch(/^attachment; filename=/)
    expect(saved.headers.get('content-disposition')).toContain("filename*=UTF-8''n%C3%BCn%C3%BC")
  })

  async function expectServed(user: string, id: string, bytes: Uint8Array): Promise<void> {
    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, id))
    const content = await call(`/media/${id}/content`, { as: user })
    for (const link of [signedUrl, content.headers.get('location') ?? '']) {
      const answer = await fetch(link)
      expect(answer.headers.get('content-type')).toBe(type)
      expect(answer.headers.get('content-disposition')).toBe(disposition)
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      await expectBytes(answer, bytes)
      // Pinned: not for who has the link to choose.
      const forged = link.replace(disposition, shown ? 'attachment' : 'inline')
      expect(forged).not.toBe(link)
      expect((await fetch(forged)).status).toBe(403)
    }
  }
})

test('an answer under /media is kept by no cache', async () => {
  const user = newUser()
  const { id } = await uploaded(user)
  const declared = { filename: 'a.jpg', fileType: 'image/jpeg', size: 9 }
  const post = (path: string, json: unknown) => call(path, { as: user, method: 'POST', json })
  const described = { 'upload-length': '9', 'upload-metadata': `filename YS5qcGc=,filetype ${btoa('image/jpeg')}` }
  const begun = await call('/media/tus', { as: user, method: 'POST', headers: { ...TUS, ...described } })
  const location = new URL(begun.headers.get('location') ?? '').pathname
  const answers: Record<string, Response> = {
    upload: await upload(user, 'accept/rocket.jpg'),
    presign: await presign(user, declared),
    complete: await complete(user, id),
    get: await get(user, id),
    list: await call('/media', { as: user }),
    'list of ids': await call(`/media?ids=${id}`, { as: user }),
    patch: await patch(user, id, { originalName: 'b.jpg' }),
    delete: await remove(user, id),
    restore: await restore(user, id),
    usage: await call('/media/usage', { as: user }),
    sign: await post('/media/sign', { method: 'PUT', key: 'x', contentType: 'image/jpeg', ...declared }),
    'tus, begun': begun,
    'tus, offset': await call(location, { as: user, method: 'HEAD', headers: TUS }),
    problem: await call('/media'),
  }
  if (backend === 'real') {
    const answer = await post('/media/multipart', declared)
    const inParts = await answered<Multipart>(200, answer.clone())
    const { key, uploadId } = inParts
    answers.multipart = answer
    answers['links of parts'] = await post(`/media/${inParts.id}/parts`, { partNumbers: [1] })
    answers.parts = await call(`/media/${inParts.id}/parts`, { as: user })
    answers['sign of a part'] = await post('/media/sign', { method: 'PUT', key, uploadId, partNumber: 1 })
    answers['parts, for Uppy'] = await call(`/media/${inParts.id}/upload`, { as: user })
  }
  const caching = Object.entries(answers).map(([name, { status, headers }]) => [
    name,
    status < 300 || name === 'problem',
    headers.get('cache-control'),
  ])
  expect(caching).toEqual(Object.keys(answers).map((name) => [name, true, 'no-store']))
})

describe('a page of another origin', () => {
  const from = (origin: string, path = '/media') => call(path, { headers: { origin } })

  test('that is listed reads what uploads are told by', async () => {
    for (const origin of [PAGE, 'http://localhost:3000']) {
      const { headers } = await from(origin)
      expect(headers.get('access-control-allow-origin')).toBe(origin)
      expect(headers.get('access-control-allow-credentials')).toBeNull()
      expect(headers.get('vary')).toContain('Origin')
      const exposed = headers.get('access-control-expose-headers')?.toLowerCase().split(',') ?? []
      for (const name of [
        'ETag',
        'Location',
        'Retry-After',
        'RateLimit',
        'Upload-Offset',
        'Upload-Length',
        'Media-Location',
      ])
        expect(exposed).toContain(name.toLowerCase())
    }
  })

  test.each([
    'https://app.example.test.evil.test',
    'https://evil.app.example.test',
    'https://evilapp.example.test',
    'http://app.example.test',
    'https://app.example.test:8443',
    'http://localhost:3001',
    'https://app.example.test/',
    'null',
    '*',
  ])('%s is not listed, and is told nothing', async (origin) => {
    const { headers } = await from(origin)
    const preflight = await call('/media/upload', {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST' },
    })
    for (const answer of [headers, preflight.headers]) expect(answer.get('access-control-allow-origin')).toBeNull()
  })
})

// A CDN serves what the bucket says, without any link.
describe.skipIf(backend === 'embedded')('where a CDN serves public objects', async () => {
  if (backend === 'embedded') return
  const withCdn = await openStage({
    ALLOWED_TYPES: 'image/jpeg,application/pdf',
    CDN_BASE_URL: 'https://cdn.example.test',
  })
  afterAll(withCdn.close)

  test.each([
    ['accept/rocket.jpg', 'image/jpeg', 'inline'],
    ['refuse/document.pdf', 'application/pdf', 'attachment'],
  ])('%s is %s and %s there', async (file, type, disposition) => {
    const user = newUser()
    const bytes = await readCorpus(file)
    const fields = { visibility: 'public' }
    const direct = await withCdn.uploaded(user, file, fields)
    const link = await withCdn.presigned(user, { fileType: type, ...fields })
    expect((await withCdn.put(link, bytes)).status).toBe(200)
    const throughStore = await answered<MediaObject>(200, await withCdn.complete(user, link.id))
    const { id } = await withCdn.uploaded(user, file)
    const changed = await answered<MediaObject>(200, await withCdn.patch(user, id, fields))
    for (const { id } of [direct, throughStore, changed]) {
      expect((await withCdn.call(`/media/${id}/content`)).status).toBe(302)
      const { url } = await answered<MediaObject>(200, await withCdn.get(user, id))
      expect(url).toStartWith(`https://cdn.example.test/public/${id}/`)
      const key = url.slice('https://cdn.example.test/'.length)
      const stored = await withCdn.inside?.storedUnder(key)
      expect([stored?.type, stored?.disposition]).toEqual([type, disposition])
    }
  })
})

// The store has no say in these; see docs/deploying.md, "The store".
describe.skipIf(backend === 'real')('a link into the service itself', () => {
  const isolation = {
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
    'cross-origin-resource-policy': 'cross-origin',
  }

  test('isolates what it serves, in every kind of answer', async () => {
    const user = newUser()
    const { id } = await uploaded(user, 'accept/jpeg-with-html-comment.jpg')
    const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, id))
    const etag = (await fetch(signedUrl)).headers.get('etag') ?? ''
    for (const [status, sent] of [
      [200, {}],
      [200, { method: 'HEAD' }],
      [206, { headers: { range: 'bytes=0-9' } }],
      [304, { headers: { 'if-none-match': etag } }],
    ] as const) {
      const answer = await fetch(signedUrl, sent)
      expect(answer.status).toBe(status)
      for (const [name, value] of Object.entries(isolation))
        expect([status, answer.headers.get(name)]).toEqual([status, value])
    }
  })

  test('takes no bytes as a page when it is a link to upload', async () => {
    const link: Presigned = await presigned(newUser())
    await expectProblem(await fetch(link.uploadUrl), 403, 'forbidden')
    await expectProblem(
      await put(link, await readCorpus('accept/rocket.jpg'), { 'content-type': 'text/html' }),
      403,
      'forbidden',
    )
  })
})
