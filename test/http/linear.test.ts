import { beforeAll, describe, expect, test } from 'bun:test'
import { IfRange } from '@remix-run/headers/if-range'
import { Range } from '@remix-run/headers/range'
import { Metadata } from '@tus/server'
import { parse as parseDisposition } from 'content-disposition'
import ipaddr from 'ipaddr.js'
import { withForm } from '../../src/http/body/form.ts'
import { partsOf } from '../../src/http/body/form-data.ts'
import { createUploadMemory } from '../../src/http/body/memory.ts'
import { isMatched, isNamed } from '../../src/http/request/etag.ts'
import { metadataOf } from '../../src/http/tus/declaration.ts'
import { safeFileName } from '../../src/media/object/file-name.ts'
import { renditionOf } from '../../src/media/object/rendition.ts'
import { requestOf } from '../support/http/bodies.ts'
import { refusal } from '../support/http/refusal.ts'

/** Milliseconds of processor time, the least of five. */
async function costOf(work: () => unknown): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i += 1) {
    const before = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, (user + system) / 1000)
  }
  return least
}

describe('form data is searched in time linear in its length', () => {
  const MiB = 1024 * 1024
  const limits = { maxParts: 8, maxHeaderBytes: 8192 }
  const LENGTH = 8 * MiB
  /** What looking at each byte costs here, once. */
  let baseline: number
  beforeAll(async () => {
    const bytes = new Uint8Array(LENGTH)
    let sum = 0
    baseline = await costOf(() => {
      for (let i = 0; i < LENGTH; i += 1) sum += bytes[i] ?? 0
    })
    expect(sum).toBe(0)
  })
  const search = async (body: Uint8Array, boundary: string) => {
    try {
      await partsOf(body, boundary, limits)
    } catch {
      // None of these has an end.
    }
  }
  const within = (boundary: string, filling: string) => {
    const body = Buffer.alloc(LENGTH, filling)
    body.write(`--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n`)
    return body
  }
  const a = 'a'.repeat(70)
  const cases: [string, string, Uint8Array][] = [
    ['nothing but the letter of its boundary', a, Buffer.alloc(LENGTH, 'a')],
    ['a file of the letter of its boundary', a, within(a, 'a')],
    ['a file of boundaries that are a letter short', a, within(a, `\r\n--${a.slice(1)}`)],
    ['a file of beginnings of a boundary', a, within(a, `\r\n--`)],
    ['a file of dashes, as is its boundary', '-'.repeat(70), within('-'.repeat(70), '-')],
    ['dashes, where the boundary ends otherwise', `${'-'.repeat(69)}b`, Buffer.alloc(LENGTH, '-')],
    ['headers without an end', a, Buffer.alloc(LENGTH, `--${a}\r\n${'\r\r\n'.repeat(30)}`)],
    ['spaces behind its boundary', a, Buffer.concat([Buffer.from(`--${a}`), Buffer.alloc(LENGTH, ' ')])],
  ]

  test.each(cases)('of %s', async (_, boundary, body) => {
    expect(await costOf(() => search(body, boundary))).toBeLessThan(6 * baseline + 20)
  })
})

describe('text of a client is read in time linear in its length', () => {
  const pieces = [
    ...['a', '1', 'f', '0x', 'é', '日', 'a\u0301', '\0', '\ud83d', '"', '%', '%22', '=', '-', '_', '+'],
    ...['.', '..', '. ', ' ', '\t', '/', '\\', '/.', ',', ' ,', ';', '; ', ',;', ':', '::', 'f:', 'W/"', 'q=0.0;'],
  ]
  const readers: [string, (text: string) => unknown][] = [
    ['a file name', safeFileName],
    ['If-None-Match', (text) => isNamed('"x"', text)],
    ['If-Range', (text) => IfRange.from(text)],
    ['Range', (text) => Range.from(`bytes=${text}`)],
    ['an address', (text) => ipaddr.isValid(text)],
    ['Accept', (accept) => renditionOf(WISH, PICTURE, { sizes: [160], accept })],
    ['Upload-Metadata', (text) => refused(() => Metadata.parse(text))],
    ['Upload-Metadata as it comes', (text) => refused(() => metadataOf(new Headers({ 'upload-metadata': text })))],
    ['If-Match', (text) => isMatched('"x"', text)],
    ['Content-Type', (text) => refused(() => void formOf(`multipart/form-data${text}`, new Uint8Array()))],
    ['Content-Disposition', (text) => parseDisposition(`form-data; name=file; ${text}`, { multipart: true })],
  ]

  test.each(readers)(
    'as %s',
    async (_, read) => {
      for (const piece of pieces) {
        for (const end of ['', '!', '/']) {
          const text = (length: number) => piece.repeat(Math.ceil(length / piece.length)) + end
          const [short, long] = [text(16_000), text(64_000)]
          read(short)
          // Eight times as much as four times the length would take; the square would be sixteen times.
          const most = 8 * (await costOf(() => read(short))) + 20
          expect({ piece, end, cost: (await costOf(() => read(long))) < most }).toEqual({ piece, end, cost: true })
        }
      }
    },
    60_000,
  )
})

test('an ETag is named by itself, weakly, without quotes or by all', () => {
  for (const sent of ['"x"', 'W/"x"', 'x', '*', '"a", "x"', ' "a" ,"x" ']) expect(isNamed('"x"', sent)).toBe(true)
  for (const sent of ['"y"', '', 'W/"y"', '"x', undefined, null]) expect(isNamed('"x"', sent)).toBe(false)
})

test('an ETag is matched by itself or by all, not weakly', () => {
  for (const sent of ['"x"', '*', '"a", "x"', undefined, null]) expect(isMatched('"x"', sent)).toBe(true)
  for (const sent of ['"y"', '', 'W/"x"']) expect(isMatched('"x"', sent)).toBe(false)
})

const WISH = { width: 1, height: 1, fit: 'inside', format: 'auto', quality: 75 } as const
const PICTURE = { mimeType: 'image/png', metadata: { width: 1, height: 1 } }

function refused(read: () => unknown): void {
  try {
    read()
  } catch {
    // What is no such text.
  }
}

const formOf = (contentType: string, body: Uint8Array) =>
  refusal(
    withForm(
      requestOf(body, { 'content-type': contentType }),
      { fileLimit: 1e6, memory: createUploadMemory(1e7), caller: 'somebody', names: ['visibility'] },
      async () => {},
    ),
  )
