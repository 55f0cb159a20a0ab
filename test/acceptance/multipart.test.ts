import { beforeAll, describe, expect, test } from 'bun:test'
import { answered, expectInvalid, expectProblem, type MediaObject, newUser } from '../support/http/client.ts'
import { BOUNDARY, head, multipart, type Part, rawMultipart } from '../support/http/multipart.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'

const { call, inside, page, sendParts, uploaded } = await usualStage()

const user = newUser()
const rocket = await readCorpus('accept/rocket.jpg')
const file: Part = { name: 'file', filename: 'rocket.jpg', type: 'image/jpeg', content: rocket }
const fileHead = head({ name: 'file', filename: 'rocket.jpg' })
const END = `\r\n--${BOUNDARY}--\r\n`

beforeAll(async () => {
  // The one object the user has, and has still when all the bad requests are done.
  await uploaded(user)
})

describe('a request that is no multipart/form-data', () => {
  test.each([
    'application/json',
    'application/x-www-form-urlencoded',
    'image/jpeg',
    'multipart/mixed; boundary=x',
    'multipart/form-data-x; boundary=x',
    'text/plain',
  ])('but %s is 415', async (type) => {
    await expectProblem(
      await send({ body: rocket, headers: { 'content-type': type } }),
      415,
      'content_type_unsupported',
    )
  })

  test('because it does not say what it is, is 415', async () => {
    await expectProblem(await send({ body: rocket }), 415, 'content_type_unsupported')
  })

  test('because it is empty, is 415', async () => {
    await expectProblem(await send({}), 415, 'content_type_unsupported')
  })
})

describe('a malformed body is 400 multipart_malformed:', () => {
  test.each([
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary=""',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
    'multipart/form-data; boundary=a b',
    'multipart/form-data; boundary="a\\"b"',
  ])('no valid boundary in %s', async (type) => {
    const { body } = multipart([file])
    await expectProblem(await send({ body, headers: { 'content-type': type } }), 400, 'multipart_malformed')
  })

  const { body } = multipart([file])
  const long = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nX-Long: ${'x'.repeat(20_000)}`
  const cases: [string, ReturnType<typeof rawMultipart>][] = [
    ['nothing at all', rawMultipart('')],
    ['another boundary', rawMultipart(Buffer.from(body).toString('latin1').replaceAll(BOUNDARY, 'other'))],
    ['no final boundary', rawMultipart(fileHead, rocket)],
    ['half a final boundary', rawMultipart(fileHead, rocket, END.slice(0, 12))],
    ['a part cut off in its content', rawMultipart(body.subarray(0, body.length / 2))],
    ['a part cut off in its header', rawMultipart(fileHead.slice(0, 50))],
    ['a part without a header', rawMultipart(`--${BOUNDARY}\r\n\r\n`, rocket, END)],
    ['a part without a name', rawMultipart(fileHead.replace(' name="file";', ''), rocket, END)],
    ['a part that is no form-data', rawMultipart(fileHead.replace('form-data', 'attachment'), rocket, END)],
    ['a part with a header of 20 KB', rawMultipart(`${long}\r\n\r\n`, rocket, END)],
    ['a part whose header never ends', rawMultipart(long, END)],
    [
      'a field that is not UTF-8',
      rawMultipart(head({ name: 'visibility' }), Buffer.from([0xff, 0xfe]), `\r\n${fileHead}`, rocket, END),
    ],
  ]
  test.each(cases)('%s', async (_what, sent) => {
    await expectProblem(await send(sent), 400, 'multipart_malformed')
  })
})

describe('a body without a file is 400 file_missing:', () => {
  const cases: [string, Part[]][] = [
    ['no part named file', [{ ...file, name: 'photo' }].map((part) => ({ name: part.name, content: 'x' }))],
    ['other fields only', [{ name: 'visibility', content: 'public' }]],
    ['file as a text field', [{ name: 'file', content: 'rocket.jpg' }]],
    ['no parts', []],
  ]
  test.each(cases)('%s', async (_what, parts) => {
    await expectProblem(await sendParts(user, parts), 400, 'file_missing')
  })
})

describe('too many parts are 400 too_many_parts:', () => {
  const cases: [string, Part[]][] = [
    ['two files', [file, { ...file, filename: 'second.jpg' }]],
    ['visibility twice', [{ name: 'visibility', content: 'public' }, { name: 'visibility', content: 'private' }, file]],
    ['30 fields', [...Array.from({ length: 30 }, (_, i) => ({ name: `field-${i}`, content: 'x' })), file]],
    ['30 files', Array.from({ length: 30 }, () => file)],
  ]
  test.each(cases)('%s', async (_what, parts) => {
    await expectProblem(await sendParts(user, parts), 400, 'too_many_parts')
  })
})

describe('fields are refused by name:', () => {
  test.each(['secret', '', 'PUBLIC', 'public\0', 'public ', '["public"]'])('visibility as %p', async (content) => {
    await expectInvalid(await sendParts(user, [file, { name: 'visibility', content }]), 'visibility')
  })

  test('all of them at once', async () => {
    const parts = [file, { name: 'visibility', content: 'x' }, { name: 'a', content: '' }, { name: 'b', content: '' }]
    await expectInvalid(await sendParts(user, parts), 'visibility')
  })

  test('a file under another name', async () => {
    const thumbnail = { ...file, name: 'thumbnail', content: 'x' }
    for (const parts of [[file, thumbnail], [thumbnail]]) {
      const { detail } = await expectProblem(await sendParts(user, parts), 400, 'file_missing')
      expect(detail).toContain('"thumbnail"')
    }
  })

  test.each([2_000, 30_000])('a text of %d bytes, as too large', async (length) => {
    const parts = [{ name: 'visibility', content: 'x'.repeat(length) }, file]
    await expectProblem(await sendParts(user, parts), 413, 'body_too_large')
  })
})

test.each(['userId', 'key', 'Visibility', 'visibility[]', '__proto__', 'constructor', ''])(
  'a field that the service does not know is ignored: %p',
  async (name) => {
    const somebody = newUser()
    const parts = [file, { name, content: 'public' }]
    const object = await answered<MediaObject>(201, await sendParts(somebody, parts))
    expect(object).toMatchObject({ userId: somebody, visibility: 'private' })
  },
)

test('a file name in a local code page keeps what can be read of it', async () => {
  const sent = rawMultipart(...inLatin1('file'), rocket, END)
  const response = await call('/media/upload', { as: newUser(), method: 'POST', ...sent })
  expect((await answered<MediaObject>(201, response)).originalName).toContain('\ufffd')
})

describe('a file name of a multipart body', () => {
  test.each([
    ['nul\0in it.jpg', 'nulin it.jpg'],
    ['tab\tline\r\nfeed.jpg', 'tablinefeed.jpg'],
    ['"quoted".jpg', '"quoted".jpg'],
    ['100%.jpg', '100%.jpg'],
    ['\u0000', 'untitled'],
    ['..', 'untitled'],
    ['/', 'untitled'],
    ['', 'untitled'],
  ])('%j is stored as %j', async (filename, stored) => {
    const somebody = newUser()
    const response = await sendParts(somebody, [{ ...file, filename }])
    const { id, originalName } = await answered<MediaObject>(201, response)
    expect(originalName).toBe(stored)
    if (inside !== undefined) expect((await inside.rowOf(id))?.original_name).toBe(stored)
  })

  test('may be written as RFC 5987 does', async () => {
    const named = fileHead.replace('filename="rocket.jpg"', "filename*=UTF-8''caf%C3%A9%20%F0%9F%9A%80.jpg")
    const response = await call('/media/upload', { as: newUser(), method: 'POST', ...rawMultipart(named, rocket, END) })
    expect((await answered<MediaObject>(201, response)).originalName).toBe('café 🚀.jpg')
  })

  test('goes with a file that has no bytes: 400 file_empty', async () => {
    await expectProblem(await sendParts(user, [{ ...file, content: '' }]), 400, 'file_empty')
  })
})

test('all of that left the user with the one object that was there before', async () => {
  expect((await page(user)).items).toHaveLength(1)
  expect((await inside?.rowsOf(user))?.length ?? 1).toBe(1)
})

function send(sent: { body?: BodyInit; headers?: Record<string, string> }): Promise<Response> {
  return call('/media/upload', { as: user, method: 'POST', ...sent })
}

/** The head of a part whose file name has an é of one byte. */
function inLatin1(name: string): Uint8Array[] {
  return [Buffer.from(head({ name, filename: 'caf\u00e9.jpg' }), 'latin1')]
}
