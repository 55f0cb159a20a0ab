import fc from 'fast-check'
import { jsonBody, multipartBody, type TypedBody } from './bodies.ts'
import type { WireRequest } from './exchange.ts'

/** What exists, and can be named: a caller's token, and ids in different states. */
export type Known = { token: string; ids: string[]; links: string[] }

/** A request of any kind to any route. */
export function anyRequest(known: Known): fc.Arbitrary<WireRequest> {
  return fc
    .record({
      route: fc.constantFrom(...ROUTES),
      otherMethod: rarely(
        fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PURGE'),
      ),
      id: idIn(known.ids),
      query,
      json: jsonBody(known.ids),
      form: multipartBody,
      otherBody: rarely(anyBody(known.ids)),
      otherType: rarely(contentType),
      authorization: fc.oneof(
        { weight: 9, arbitrary: fc.constant<string[]>([`Bearer ${known.token}`]) },
        { weight: 1, arbitrary: badAuthorization(known.token) },
      ),
      headers: fc.oneof(
        { weight: 2, arbitrary: fc.constant<[string, string][]>([]) },
        { weight: 1, arbitrary: fc.array(header, { maxLength: 4 }) },
      ),
      host: rarely(
        fc.constantFrom('', ':', 'a:b', '[::1', 'a b', '%', '..', 'x'.repeat(3000), 'ex@mple', 'a/b?c#d', '\xff'),
      ),
      framing: fc.constantFrom(
        'length' as const,
        'length' as const,
        'length' as const,
        'chunked' as const,
        'chunked' as const,
        'cut' as const,
      ),
    })
    .map((parts) => assemble(parts))
}

/** A request to a link of the disk store, or to what looks like one. */
export function linkRequest(known: Known): fc.Arbitrary<WireRequest> {
  return fc
    .record({
      method: fc.constantFrom('GET', 'GET', 'HEAD', 'PUT'),
      link: fc.constantFrom(...known.links),
      spoilt: rarely(fc.tuple(fc.nat(300), junk)),
      headers: fc.array(header, { maxLength: 4 }),
      body: fc.uint8Array({ maxLength: 200 }),
    })
    .map(({ method, link, spoilt, headers, body }) => ({
      method,
      target: spoilt ? link.slice(0, spoilt[0]) + encodeURI(spoilt[1].toWellFormed()) : link,
      headers: [['host', 'localhost'], ...headers],
      body: method === 'PUT' ? body : new Uint8Array(),
      framing: 'length',
    }))
}

function anyBody(ids: string[]): fc.Arbitrary<TypedBody> {
  const picture = fc.uint8Array({ maxLength: 200 }).map((bytes) => ({ type: 'image/jpeg', bytes }))
  return fc.oneof(jsonBody(ids), multipartBody, picture)
}

type Parts = {
  route: (typeof ROUTES)[number]
  otherMethod: string | undefined
  id: string
  query: string
  json: TypedBody
  form: TypedBody
  otherBody: TypedBody | undefined
  otherType: string | undefined
  authorization: string[]
  headers: [string, string][]
  host: string | undefined
  framing: WireRequest['framing']
}

function assemble({ route: [method, path, takes], ...parts }: Parts): WireRequest {
  const { otherMethod, otherType, otherBody, host = 'localhost', authorization, headers } = parts
  const sent = takes === undefined ? undefined : (otherBody ?? parts[takes])
  const types: [string, string][] = sent === undefined ? [] : [['content-type', otherType ?? sent.type]]
  const tus: [string, string][] = path.startsWith('/media/tus') ? [['tus-resumable', '1.0.0']] : []
  return {
    method: otherMethod ?? method,
    target: path.replace(':id', parts.id) + parts.query,
    headers: [
      ['host', host],
      ...authorization.map((value): [string, string] => ['authorization', value]),
      ...types,
      ...tus,
      ...headers,
    ],
    body: sent?.bytes ?? new Uint8Array(),
    framing: sent === undefined ? 'length' : parts.framing,
  }
}

const ROUTES = [
  ['POST', '/media/upload', 'form'],
  ['POST', '/media/upload', 'form'],
  ['POST', '/media/upload', 'form'],
  ['POST', '/media/presign', 'json'],
  ['POST', '/media/presign', 'json'],
  ['POST', '/media/multipart', 'json'],
  ['POST', '/media/sign', 'json'],
  ['PATCH', '/media/:id', 'json'],
  ['POST', '/media/:id/parts', 'json'],
  ['POST', '/media/tus', 'json'],
  ['PATCH', '/media/tus/:id', 'json'],
  ['GET', '/media'],
  ['GET', '/media'],
  ['DELETE', '/media'],
  ['GET', '/media/usage'],
  ['GET', '/media/:id'],
  ['GET', '/media/:id/content'],
  ['DELETE', '/media/:id'],
  ['POST', '/media/:id/complete'],
  ['POST', '/media/:id/restore'],
  ['GET', '/media/:id/parts'],
  ['POST', '/media/:id/upload'],
  ['GET', '/media/:id/upload'],
  ['DELETE', '/media/:id/upload'],
  ['HEAD', '/media/tus/:id'],
  ['DELETE', '/media/tus/:id'],
  ['GET', '/files/:id'],
  ['GET', '/:id'],
] as const satisfies [method: string, path: string, takes?: 'json' | 'form'][]

function rarely<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 12, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
}

const junk = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    '\0',
    '..',
    '../..',
    "'",
    '%',
    '\ud800',
    'NaN',
    '-1',
    '1e999',
    '__proto__',
    'constructor',
    'null',
  ),
  fc.nat(6000).map((length) => 'a'.repeat(length)),
)

const percent = fc.oneof(
  junk.map((text) => encodeURIComponent(text.toWellFormed())),
  fc.constantFrom(
    '%',
    '%%',
    '%0',
    '%zz',
    '%00',
    '%E0%A4',
    '%C0%AF',
    '%2e%2e',
    '%2F',
    '%5c',
    '%0d%0a',
    '%u0041',
    ';',
    '+',
  ),
)

function idIn(ids: string[]): fc.Arbitrary<string> {
  const id = fc.oneof(fc.constantFrom(...ids), fc.uuid())
  return fc.oneof(
    { weight: 4, arbitrary: id },
    { weight: 1, arbitrary: id.map((known) => known.toUpperCase()) },
    { weight: 1, arbitrary: fc.tuple(id, percent).map((pieces) => pieces.join('')) },
    { weight: 2, arbitrary: percent },
    { weight: 1, arbitrary: fc.constantFrom('..', '.', '../upload', '//', 'upload', 'usage') },
  )
}

const parameter = fc.tuple(
  fc.oneof(fc.constantFrom('limit', 'cursor', 'type', 'status', 'ids', 'download', 'uploadId', 'userId'), percent),
  fc.oneof(
    percent,
    fc.double().map(String),
    fc.uuid(),
    fc.array(fc.oneof(fc.uuid(), percent), { maxLength: 120 }).map((ids) => ids.join(',')),
    fc.constantFrom('1', '100', '101', 'image/*', 'image/png', 'active', 'deleted', `image/${'+.-'.repeat(1000)}!`),
  ),
)
const query = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  fc.array(parameter, { maxLength: 4 }).map((all) => `?${all.map((pair) => pair.join('=')).join('&')}`),
  percent.map((text) => `?${text}`),
)

/** Any bytes that do not end the line. */
const line = fc
  .oneof(
    junk,
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  )
  .map((text) => text.replace(/[\r\n]/g, ' '))
const contentType = fc.oneof(
  line,
  fc.constantFrom('', 'application/json', 'application/json;', 'application/jsonx', 'application/offset+octet-stream'),
  fc.constantFrom('multipart/form-data', 'multipart/form-data; boundary=', 'multipart/mixed; boundary=a', 'text/plain'),
  fc.nat(3000).map((count) => `multipart/form-data${'; boundary= '.repeat(count / 10)}`),
)
const number = fc.oneof(fc.integer().map(String), fc.double().map(String), line)
const range = fc.oneof(
  line,
  fc
    .tuple(fc.constantFrom('bytes', 'items'), fc.option(fc.nat(300_000)), fc.option(fc.nat(300_000)))
    .map(([unit, from, to]) => `${unit}=${from ?? ''}-${to ?? ''}`),
  fc.array(fc.nat(9), { maxLength: 900 }).map((starts) => `bytes=${starts.map((start) => `${start}-`).join(',')}`),
)
const header: fc.Arbitrary<[string, string]> = fc.oneof(
  fc.tuple(
    fc.constant('idempotency-key'),
    fc.oneof(
      line,
      fc.integer({ min: 250, max: 260 }).map((n) => 'k'.repeat(n)),
    ),
  ),
  fc.tuple(fc.constant('x-request-id'), line),
  fc.tuple(fc.constantFrom('range', 'Range'), range),
  fc.tuple(
    fc.constantFrom('if-range', 'if-none-match', 'if-match', 'if-modified-since'),
    fc.oneof(line, fc.constantFrom('*', '"a"', 'W/"a"', '"')),
  ),
  fc.tuple(fc.constantFrom('upload-length', 'upload-offset', 'upload-defer-length'), number),
  fc.tuple(
    fc.constant('upload-metadata'),
    fc.oneof(
      line,
      fc.constant('filetype aW1hZ2UvanBlZw==,filename YS5qcGc='),
      fc.tuple(fc.base64String(), junk).map(([a, b]) => `filetype aW1hZ2UvanBlZw==,${b} ${a}`.replace(/[\r\n]/g, ' ')),
    ),
  ),
  fc.tuple(fc.constantFrom('tus-resumable', 'x-http-method-override', 'upload-concat', 'upload-checksum'), line),
  fc.tuple(
    fc.constantFrom('x-user-id', 'x-user-role', 'x-gateway-secret', 'x-forwarded-for', 'cookie', 'origin'),
    line,
  ),
  fc.tuple(fc.constantFrom('content-encoding', 'accept', 'accept-encoding', 'expect', 'te', 'upgrade'), line),
)

function badAuthorization(token: string): fc.Arbitrary<string[]> {
  return fc.oneof(
    fc.constantFrom<string[][]>(
      [],
      ['Bearer'],
      ['Bearer '],
      ['Basic YTpi'],
      [`Bearer ${token} x`],
      [`Bearer ${token}`, 'Bearer x'],
    ),
    line.map((text) => [text]),
    line.map((text) => [`Bearer ${text}`]),
    fc.nat(token.length).map((at) => [`Bearer ${token.slice(0, at)}`]),
    fc.constantFrom('eyJhbGciOiJub25lIn0.e30.', 'a.b.c', `${'a'.repeat(3000)}.b.c`).map((text) => [`Bearer ${text}`]),
  )
}
