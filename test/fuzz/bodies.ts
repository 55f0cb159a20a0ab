import fc from 'fast-check'
import { readCorpus } from '../support/pictures/corpus.ts'

export type TypedBody = { type: string; bytes: Uint8Array }

const picture = Buffer.from(await readCorpus('accept/cat.webp'))

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom(
    '',
    'a.jpg',
    '../../etc/passwd',
    'a\0.jpg',
    '\ud800',
    '\u202egnp.exe',
    '__proto__',
    'a"b',
    'a\\',
    '%22',
  ),
  fc.nat(3000).map((length) => 'é'.repeat(length)),
)
const value = fc.oneof(
  text,
  fc.double(),
  fc.integer(),
  fc.constantFrom<unknown>(null, true, [], {}, 1e308, -0, 2 ** 53, Number.MAX_SAFE_INTEGER),
  fc.jsonValue({ maxDepth: 3 }),
)

/** JSON for any of the routes that take it: nearly right, wrong in every way, or no JSON at all. */
export function jsonBody(ids: string[]): fc.Arbitrary<TypedBody> {
  const members = {
    filename: text,
    fileType: fc.constantFrom('image/jpeg', 'image/webp', 'text/html'),
    contentType: fc.constantFrom('image/jpeg', 'IMAGE/JPEG', ''),
    size: fc.oneof(fc.nat(), fc.maxSafeInteger()),
    sha256: fc.constantFrom('0'.repeat(64), 'F'.repeat(64), '0'),
    visibility: fc.constantFrom('public', 'private', 'Public'),
    originalName: text,
    partNumbers: fc.array(fc.integer({ min: -1, max: 10_001 }), { maxLength: 120 }),
    method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE', 'HEAD'),
    key: fc.oneof(
      text,
      fc.constantFrom(...ids).map((id) => `media/${id}/original.jpg`),
    ),
    uploadId: text,
    partNumber: fc.integer({ min: -1, max: 10_001 }),
  }
  const names = Object.keys(members) as (keyof typeof members)[]
  const member: fc.Arbitrary<[string, unknown]> = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.constantFrom(...names).chain((name) => fc.tuple(fc.constant<string>(name), members[name])),
    },
    { weight: 1, arbitrary: fc.tuple(fc.oneof(fc.constantFrom<string>(...names), text), value) },
  )
  const presign = fc.tuple(members.filename, members.fileType).map(([filename, fileType]): [string, unknown][] => [
    ['filename', filename],
    ['fileType', fileType],
  ])
  const object = fc.tuple(fc.oneof(presign, fc.constant([])), fc.array(member, { maxLength: 5 })).map(
    ([basis, more]) =>
      // By hand, so that members come twice and `__proto__` is one like any other.
      `{${[...basis, ...more].map(([name, content]) => `${JSON.stringify(name)}:${JSON.stringify(content)}`).join(',')}}`,
  )
  const source = fc.oneof(
    { weight: 10, arbitrary: object },
    { weight: 1, arbitrary: fc.json() },
    { weight: 1, arbitrary: fc.tuple(object, fc.nat(60)).map(([whole, at]) => whole.slice(0, at)) },
    { weight: 1, arbitrary: fc.nat(20_000).map((depth) => '['.repeat(depth)) },
    { weight: 1, arbitrary: fc.nat(20_000).map((digits) => `{"size":1${'0'.repeat(digits)}}`) },
  )
  return source.map((json) => ({ type: 'application/json', bytes: Buffer.from(json) }))
}

const boundary = fc.oneof(
  { weight: 6, arbitrary: fc.constant('plain-boundary') },
  { weight: 1, arbitrary: fc.stringMatching(/^[\w'()+,./:=?-]{1,70}$/) },
  { weight: 1, arbitrary: fc.constantFrom('', '-', '--', 'a b', ' ', 'a '.repeat(40), 'é', '"', '\\', 'x'.repeat(71)) },
)

const parameterOfName = fc.oneof(
  { weight: 3, arbitrary: fc.constant('name="file"') },
  { weight: 1, arbitrary: fc.constant('name="visibility"') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', 'name=file', 'name=', "name*=UTF-8''file", 'name="file', 'name="__proto__"'),
  },
  { weight: 1, arbitrary: text.map((name) => `name="${name}"`) },
)
const parameterOfFileName = fc.oneof(
  { weight: 3, arbitrary: fc.constant('; filename="a.webp"') },
  { weight: 2, arbitrary: text.map((name) => `; filename="${name.replaceAll('"', '%22')}"`) },
  // RFC 8187, and what goes wrong in it.
  { weight: 1, arbitrary: text.map((name) => `; filename*=UTF-8''${encodeURIComponent(name.toWellFormed())}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "; filename*=UTF-8''%E0%A4",
      "; filename*=latin9'de'%ff",
      '; filename*=',
      "; filename*='",
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      ';',
      '; filename',
      '; filename=a.webp',
      '; filename="a"; filename="b"',
      '; filename="\\',
    ),
  },
)
const furtherHeader = fc.oneof(
  fc.constantFrom(
    'Content-Type: image/webp',
    'Content-Type: ',
    'content-transfer-encoding: base64',
    'X',
    ': x',
    ' folded',
    '\tfolded',
  ),
  fc.constantFrom(
    'Content-Type: multipart/mixed; boundary=inner',
    'Content-Disposition: attachment',
    'Content-Length: 999999',
  ),
  text.map((name) => `${name}: ${name}`),
  fc.nat(10_000).map((length) => `X-Long: ${'x'.repeat(length)}`),
)
const content = fc.oneof(
  { weight: 4, arbitrary: fc.constant(picture) },
  { weight: 1, arbitrary: fc.nat(picture.length).map((at) => picture.subarray(0, at)) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(200), fc.nat(255)).map(([at, byte]) => flipped(at, byte)) },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom('', 'public', 'private', '--', '\r\n', '--inner\r\n\r\nx\r\n--inner--')
      .map((s) => Buffer.from(s)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)) },
)
const part = fc.record({
  type: fc.oneof(
    { weight: 9, arbitrary: fc.constant('form-data; ') },
    { weight: 1, arbitrary: fc.constantFrom('', 'attachment; ') },
  ),
  name: parameterOfName,
  fileName: parameterOfFileName,
  further: fc.array(furtherHeader, { maxLength: 2 }),
  content,
})

/** A form with a picture in it, or something that was one once. */
export const multipartBody: fc.Arbitrary<TypedBody> = fc
  .record({
    boundary,
    quoted: fc.boolean(),
    parts: fc.oneof(
      { weight: 9, arbitrary: fc.array(part, { minLength: 1, maxLength: 3 }) },
      { weight: 1, arbitrary: fc.array(part, { maxLength: 12 }) },
    ),
    newline: fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r'),
    preamble: fc.constantFrom('', '', '', 'preamble', '\r\n'),
    end: fc.constantFrom('--\r\n', '--\r\n', '--', '', '--\r\nepilogue', '-'),
  })
  .map(({ boundary, quoted, parts, newline, preamble, end }) => {
    const pieces = parts.flatMap(({ type, name, fileName, further, content }) => [
      [`--${boundary}`, `Content-Disposition: ${type}${name}${fileName}`, ...further, '', ''].join(newline),
      content,
      newline,
    ])
    const named = quoted ? `"${boundary}"` : boundary
    return {
      type: `multipart/form-data; boundary=${named}`,
      bytes: Buffer.concat([preamble, ...pieces, `--${boundary}${end}`].map((piece) => Buffer.from(piece))),
    }
  })

function flipped(at: number, byte: number): Buffer {
  const copy = Buffer.from(picture)
  copy[at % copy.length] = byte
  return copy
}
