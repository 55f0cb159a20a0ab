import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { type Form, withForm } from '../../src/http/body/form.ts'
import { createUploadMemory } from '../../src/http/body/memory.ts'
import { Problem } from '../../src/problem.ts'
import { until } from '../support/clock/until.ts'
import { cut, requestOf } from '../support/http/bodies.ts'
import { refusal } from '../support/http/refusal.ts'

const BOUNDARY = '----WebKitFormBoundaryAa03x'
const FILE_LIMIT = 10_000
const picture = randomBytes(2000)

type Part = { disposition: string; type?: string; content: Uint8Array | string }

/** A body as clients write it, in bytes. */
function write(parts: Part[], boundary = BOUNDARY): Buffer {
  const pieces = parts.flatMap(({ disposition, type, content }) => [
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n`,
    type === undefined ? '\r\n' : `Content-Type: ${type}\r\n\r\n`,
    content,
    '\r\n',
  ])
  return Buffer.concat([...pieces, `--${boundary}--\r\n`].map((piece) => Buffer.from(piece)))
}

const filePart = (disposition = 'name="file"; filename="a.jpg"', content: Uint8Array | string = picture): Part => ({
  disposition,
  type: 'image/jpeg',
  content,
})

function read(
  body: Uint8Array | Uint8Array[],
  contentType = `multipart/form-data; boundary=${BOUNDARY}`,
): Promise<Form> {
  const memory = createUploadMemory(1024 * 1024)
  const limits = { fileLimit: FILE_LIMIT, memory, caller: 'somebody', names: ['visibility'] }
  // A copy: the form's own bytes are gone when its use is over.
  return withForm(requestOf(body, { 'content-type': contentType }), limits, async ({ file, fields }) => ({
    file: { ...file, bytes: file.bytes.slice() },
    fields,
  }))
}

const nameOf = async (disposition: string) => (await read(write([filePart(disposition)]))).file.name
const refused = async (...args: Parameters<typeof read>) => {
  const error = await refusal(read(...args))
  if (!(error instanceof Problem)) throw error
  return error.code
}

describe('a form', () => {
  test('as browsers send it gives the file, its name and the other fields', async () => {
    const form = new FormData()
    form.append('file', new File([picture], 'holiday "1".jpg', { type: 'image/jpeg' }))
    form.append('visibility', 'public')
    const sent = new Request('http://service.test/', { method: 'POST', body: form })
    const type = sent.headers.get('content-type') ?? ''
    const { file, fields } = await read(await sent.bytes(), type)
    expect(file.name).toBe('holiday "1".jpg')
    expect(Buffer.compare(file.bytes, picture)).toBe(0)
    expect(fields).toEqual({ visibility: 'public' })
  })

  test('may name its file with separators of lines that JavaScript has and HTTP has not', async () => {
    const name = 'a\u2028b\u2029c.jpg'
    const { file } = await read(write([filePart(`name="file"; filename="${name}"`)]))
    expect(file.name).toBe(name)
  })

  test('as curl sends it, with a shorter boundary and quotes around it, is read too', async () => {
    const boundary = '------------------------d74496d66958873e'
    const body = write([filePart(), { disposition: 'name="visibility"', content: 'private' }], boundary)
    for (const written of [boundary, `"${boundary}"`])
      expect((await read(body, `Multipart/Form-Data; charset=utf-8; boundary=${written}`)).fields).toEqual({
        visibility: 'private',
      })
  })

  test('may hold what looks like its boundary inside the file', async () => {
    const content = `\r\n--${BOUNDARY.slice(0, -1)}\r\n\r\n--\r\n`
    const { file } = await read(write([filePart(undefined, content)]))
    expect(new TextDecoder().decode(file.bytes)).toBe(content)
  })

  test('may have an epilogue, which is ignored', async () => {
    const { file } = await read(Buffer.concat([write([filePart()]), Buffer.from('\r\nepilogue\r\n')]))
    expect(Buffer.compare(file.bytes, picture)).toBe(0)
  })

  test('may begin with the line break of its first delimiter, as Unity sends it', async () => {
    const body = write([filePart(), { disposition: 'name="visibility"', content: 'public' }])
    const { file, fields } = await read(Buffer.concat([Buffer.from('\r\n'), body]))
    expect(Buffer.compare(file.bytes, picture)).toBe(0)
    expect(fields).toEqual({ visibility: 'public' })
  })

  test('may have a preamble, which is ignored', async () => {
    const body = write([filePart(), { disposition: 'name="visibility"', content: 'public' }])
    for (const preamble of ['\r\n\r\n', 'preamble\r\n', `--${BOUNDARY.slice(1)}\r\n`, `${'\n'.repeat(5000)}\r\n`]) {
      const { file, fields } = await read(Buffer.concat([Buffer.from(preamble), body]))
      expect([Buffer.compare(file.bytes, picture), fields]).toEqual([0, { visibility: 'public' }])
    }
  })

  test('may have a boundary of letters that none should have, as old clients send them', async () => {
    for (const [boundary, written] of [
      ['*****', '*****'],
      ['a#b%c', 'a#b%c'],
      ['{[<@>]}', '"{[<@>]}"'],
    ] as const)
      expect((await read(write([filePart()], boundary), `multipart/form-data; boundary=${written}`)).file.name).toBe(
        'a.jpg',
      )
  })

  test('may have fields that libraries for uploads add, which are ignored, whatever they hold', async () => {
    const others = [
      { disposition: 'name="relativePath"', content: 'null' },
      { disposition: 'name="type"', content: Buffer.from([0xff, 0xfe]) },
      { disposition: 'name="type"', content: 'x'.repeat(2000) },
    ]
    expect((await read(write([...others, filePart()]))).fields).toEqual({})
  })

  test('gives an empty file as one, for others to judge', async () => {
    expect((await read(write([filePart(undefined, '')]))).file.bytes).toHaveLength(0)
  })

  test('may have a file exactly as large as the limit', async () => {
    expect((await read(write([filePart(undefined, randomBytes(FILE_LIMIT))]))).file.bytes).toHaveLength(FILE_LIMIT)
    expect(await refused(write([filePart(undefined, randomBytes(FILE_LIMIT + 1))]))).toBe('file_too_large')
    expect(await refused(write([filePart(undefined, randomBytes(200_000))]))).toBe('file_too_large')
  })

  test('gives the memory it had back, used well or not', async () => {
    const memory = createUploadMemory(1024 * 1024)
    const limits = { fileLimit: FILE_LIMIT, memory, caller: 'somebody', names: [] }
    const request = () =>
      requestOf(write([filePart()]), { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` })
    await withForm(request(), limits, async () => expect(memory.usage().reserved).toBeGreaterThan(picture.length))
    const failed = withForm(request(), limits, async () => Promise.reject(new Error('of the use')))
    expect((await refusal(failed)).message).toBe('of the use')
    expect(memory.usage().reserved).toBe(0)
  })
})

describe('a file name in a form', () => {
  test.each([
    ['name="file"; filename="photo.jpg"', 'photo.jpg'],
    ['filename="photo.jpg"; name="file"', 'photo.jpg'],
    ['name=file; filename=photo.jpg', 'photo.jpg'],
    ['name="file"; FileName="photo.jpg"', 'photo.jpg'],
    ['name="file"; filename="日本語 🚀.jpg"', '日本語 🚀.jpg'],
    ['name="file"; filename="a%22b%0D%0A.jpg"', 'a"b\r\n.jpg'],
    ['name="file"; filename="100%25%41.jpg"', '100%25%41.jpg'],
    ['name="file"; filename="C:\\Users\\me\\photo.jpg"', 'C:\\Users\\me\\photo.jpg'],
    ['name="file"; filename="folder\\"', 'folder\\'],
    ['name="file"; filename="my \\"best\\" photo.jpg"', 'my "best" photo.jpg'],
    ['filename="the \\"best\\""; name="file"', 'the "best"'],
    ['name="file"; filename="a;b=c\'d.jpg"', "a;b=c'd.jpg"],
    ['name="file"; filename=""', ''],
    ['name="file"; filename*=UTF-8\'\'na%C3%AFve%20%E2%82%AC.jpg', 'naïve €.jpg'],
    ['name="file"; filename="plain.jpg"; filename*=UTF-8\'\'na%C3%AFve.jpg', 'naïve.jpg'],
  ])('written as %s is %j', async (disposition, name) => {
    expect(await nameOf(disposition)).toBe(name)
  })
})

test('a file name in a local code page keeps what can be read of it', async () => {
  const body = Buffer.from(
    write([filePart('name="file"; filename="XXber.jpg"')])
      .toString('latin1')
      .replace('XX', '\xdc'),
    'latin1',
  )
  expect((await read(body)).file.name).toBe('\ufffdber.jpg')
})

describe('a request is refused', () => {
  const field = { disposition: 'name="visibility"', content: 'public' }
  const good = write([filePart()])
  const garbled = (from: string, to: string) => Buffer.from(good.toString('latin1').replace(from, to), 'latin1')

  test.each([
    'application/json',
    'multipart/mixed; boundary=x',
    'multipart/form-dataX; boundary=x',
    'application/x-www-form-urlencoded',
    '',
  ])('as content_type_unsupported when it is %j', async (type) => {
    expect(await refused(good, type)).toBe('content_type_unsupported')
  })

  test.each(['', '; boundary=', '; boundary=""', `; boundary=${'x'.repeat(71)}`, '; boundary="a\\"b"', '; boundary=ä'])(
    'as multipart_malformed without a boundary that can be one: %j',
    async (rest) => {
      expect(await refused(good, `multipart/form-data${rest}`)).toBe('multipart_malformed')
    },
  )

  test.each([
    ['is empty', Buffer.alloc(0)],
    ['is something else', randomBytes(500)],
    ['has another boundary', write([filePart()], 'other')],
    ['has no last boundary', good.subarray(0, -(BOUNDARY.length + 8))],
    ['ends within the last boundary', good.subarray(0, -8)],
    ['ends within the headers of a part', good.subarray(0, BOUNDARY.length + 20)],
    ['has a part without a Content-Disposition', garbled('Content-Disposition', 'Content-Description')],
    ['has a part without a name', garbled('name="file"; ', '')],
    ['has a part that is no form-data', garbled('form-data', 'attachment')],
    ['has a field that is not UTF-8', write([filePart(), { ...field, content: Buffer.from([0xc3, 0x28]) }])],
    ['has a part with headers beyond measure', write([filePart(`name="file"; filename="${'x'.repeat(9000)}"`)])],
  ])('as multipart_malformed when its body %s', async (_, body) => {
    expect(await refused(body)).toBe('multipart_malformed')
  })

  test('as file_missing without a part of that name, or with a text in its place', async () => {
    expect(await refused(write([field]))).toBe('file_missing')
    for (const content of ['short', randomBytes(5000)])
      expect((await refusal(read(write([filePart('name="picture"; filename="a.jpg"', content)])))).message).toBe(
        'The file is in a field named "picture"; name it file.',
      )
    expect(await refused(write([{ disposition: 'name="file"', content: 'text' }]))).toBe('file_missing')
    expect(await refused(Buffer.from(`--${BOUNDARY}--\r\n`))).toBe('file_missing')
  })

  test('as too_many_parts with two files, two fields of one name, or very many fields', async () => {
    const fields = Array.from({ length: 8 }, (_, i) => ({ disposition: `name="f${i}"`, content: '' }))
    for (const parts of [
      [filePart(), filePart()],
      [filePart(), field, field],
      [filePart(), ...fields],
    ])
      expect(await refused(write(parts))).toBe('too_many_parts')
  })

  test('as body_too_large with a field beyond measure', async () => {
    expect(await refused(write([filePart(), { ...field, content: 'x'.repeat(1025) }]))).toBe('body_too_large')
  })

  test('before anything of it is read when Content-Length says that it is too large', async () => {
    let pulled = 0
    const body = new ReadableStream({ pull: () => void pulled++ }, { highWaterMark: 0 })
    const headers = { 'content-type': `multipart/form-data; boundary=${BOUNDARY}`, 'content-length': '1000000' }
    const request = new Request('http://service.test/', { method: 'POST', headers, body })
    const limits = { fileLimit: FILE_LIMIT, memory: createUploadMemory(1024), caller: 'somebody', names: [] }
    expect(await refusal(withForm(request, limits, async () => {}))).toMatchObject({ code: 'file_too_large' })
    expect(pulled).toBe(0)
  })
})

describe('whatever comes', () => {
  test('any cut into chunks gives the same form', async () => {
    const body = write([{ disposition: 'name="visibility"', content: 'public' }, filePart()])
    const whole = await read(body)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 20 }), async (places) => {
        const form = await read(cut(body, places))
        expect(form.fields).toEqual(whole.fields)
        expect(form.file.name).toBe(whole.file.name)
        expect(Buffer.compare(form.file.bytes, whole.file.bytes)).toBe(0)
      }),
      { numRuns: 300 },
    )
  })

  test('a file of any bytes and a name of any text come out as they went in', async () => {
    const files = fc.uint8Array({ maxLength: 500 })
    const plain = fc
      .string({ unit: 'grapheme' })
      .filter((name) => !/["\r\n\\]|%(22|0d|0a)/i.test(name) && name.trim() === name)
    await fc.assert(
      fc.asyncProperty(files, plain, async (bytes, name) => {
        const { file } = await read(write([filePart(`name="file"; filename="${name}"`, bytes)]))
        expect(Buffer.compare(file.bytes, bytes)).toBe(0)
        expect(file.name).toBe(name)
      }),
      { numRuns: 500 },
    )
  })

  const pieces = fc.constantFrom(
    ...['\r\n', `--${BOUNDARY}`, '--', ': ', ';', '"', '\\', '\0', '%22', "filename*=UTF-8''%", '%C3', '=?utf-8?q?x?='],
    ...[
      'Content-Disposition: form-data; name="file"; filename="x"',
      'filename*=',
      'name=',
      '\xff',
      'content-type:',
      'x',
    ],
  )
  const made = fc.array(pieces, { maxLength: 30 }).map((found) => Buffer.from(found.join(''), 'latin1'))

  test('bytes of any kind never give anything but a form or a problem of the client', async () => {
    const bodies = fc.oneof(fc.uint8Array({ maxLength: 300 }), made)
    const framed = bodies.map((body) =>
      Buffer.concat([Buffer.from(`--${BOUNDARY}\r\n`), body, Buffer.from(`\r\n--${BOUNDARY}--`)]),
    )
    await fc.assert(
      fc.asyncProperty(fc.oneof(bodies, framed), async (body) => {
        const error = await read(body).then(
          () => null,
          (thrown: unknown) => thrown,
        )
        if (error !== null) expect(error).toMatchObject({ name: 'Problem', kind: 'invalid-request' })
      }),
      { numRuns: 3000 },
    )
  })

  test('a disposition of any kind never gives anything but a form or a problem of the client', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(made.map(String), fc.string({ unit: 'binary' })), async (rest) => {
        const body = write([filePart(`name="file"; filename="a.jpg"; ${rest}`), filePart(`name="file"; ${rest}`)])
        const error = await refusal(read(body))
        expect(error).toMatchObject({ name: 'Problem', kind: 'invalid-request' })
      }),
      { numRuns: 2000 },
    )
  })
})

test('a client that disconnects while it waits for memory gives its place up', async () => {
  const memory = createUploadMemory(1000)
  await memory.reserve('another', 400)
  const gone = new AbortController()
  const headers = { 'content-type': `multipart/form-data; boundary=${BOUNDARY}`, 'content-length': '400' }
  const init = { method: 'POST', body: new Uint8Array(400), headers, signal: gone.signal }
  const limits = { fileLimit: FILE_LIMIT, memory, caller: 'somebody', names: [] }
  const refused = refusal(withForm(new Request('http://service.test/', init), limits, async () => 'used'))
  await until(() => memory.usage().waiting === 1)
  gone.abort()
  expect(await refused).toMatchObject({ code: 'request_invalid' })
  expect(memory.usage()).toEqual({ reserved: 1000, waiting: 0 })
})
