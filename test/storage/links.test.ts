import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Grant, readLink, signLink } from '../../src/storage/disk/links.ts'

const SECRET = 'a secret of thirty-two characters'
const NOW = 1_800_000_000_000

const put: Grant = {
  method: 'PUT',
  key: 'media/019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11/original.jpg',
  expires: NOW / 1000 + 900,
  contentType: 'image/jpeg',
  disposition: undefined,
  cacheControl: undefined,
  size: 12_345,
  sha256: 'ab'.repeat(32),
}
const get: Grant = {
  ...put,
  method: 'GET',
  disposition: 'inline; filename="a b.jpg"',
  cacheControl: 'private',
  size: undefined,
  sha256: undefined,
}

const parse = (link: string) => new URL(link, 'http://service.test')
const read = (link: string, secret = SECRET, now = NOW) => readLink(parse(link), [secret], now)

describe('a link to the service itself', () => {
  test('says what it allows', () => {
    expect(read(signLink(put, SECRET))).toEqual(put)
    expect(read(signLink(get, SECRET))).toEqual(get)
  })

  test('says what it allows whatever a type or disposition holds', () => {
    const texts = fc.string({ unit: 'binary' })
    const grants = fc.record({
      contentType: texts,
      disposition: fc.option(texts, { nil: undefined }),
      size: fc.option(fc.nat(), { nil: undefined }),
    })
    fc.assert(
      fc.property(grants, (some) => expect(read(signLink({ ...put, ...some }, SECRET))).toEqual({ ...put, ...some })),
    )
  })

  test('is good until it expires and not at that moment', () => {
    const link = signLink(put, SECRET)
    expect(read(link, SECRET, put.expires * 1000 - 1)).toEqual(put)
    expect(read(link, SECRET, put.expires * 1000)).toBeNull()
  })

  test('is refused under another secret', () => {
    expect(read(signLink(put, SECRET), `${SECRET}!`)).toBeNull()
  })

  test('is good under either of two secrets while one takes the place of the other', () => {
    const next = 'the secret that takes its place soon'
    for (const secret of [SECRET, next])
      expect(readLink(parse(signLink(put, secret)), [next, SECRET], NOW)).toEqual(put)
    expect(readLink(parse(signLink(put, `${next},${SECRET}`)), [next, SECRET], NOW)).toBeNull()
  })

  test('is refused with any byte of it changed', () => {
    const links = [signLink(put, SECRET), signLink(get, SECRET)]
    const changes = fc.record({
      link: fc.constantFrom(...links),
      at: fc.nat(),
      to: fc.integer({ min: 0x20, max: 0x7e }),
    })
    fc.assert(
      fc.property(changes, ({ link, at, to }) => {
        const i = at % link.length
        const changed = link.slice(0, i) + String.fromCharCode(to) + link.slice(i + 1)
        fc.pre(!sameAddress(changed, link))
        expect(read(changed)).toBeNull()
      }),
      { numRuns: 5000 },
    )
  })

  test.each(['method', 'expires', 'type', 'size', 'sha256', 'signature'])('is refused without its %s', (name) => {
    const link = parse(signLink(put, SECRET))
    link.searchParams.delete(name)
    expect(readLink(link, [SECRET], NOW)).toBeNull()
  })

  test('keeps its fields apart, so that none can take over what another says', () => {
    const one = { ...get, contentType: 'a', disposition: 'b' }
    const other = { ...get, contentType: 'a","b', disposition: undefined }
    const signature = parse(signLink(one, SECRET)).searchParams.get('signature') ?? ''
    const forged = parse(signLink(other, SECRET))
    forged.searchParams.set('signature', signature)
    expect(readLink(forged, [SECRET], NOW)).toBeNull()
  })
})

/** Whether two links are one address, such as with `%2f` for `%2F` (RFC 3986, section 6.2.2). */
function sameAddress(one: string, other: string): boolean {
  const normal = (link: string) => {
    const { origin, pathname, searchParams } = parse(link)
    return JSON.stringify([origin, pathname, [...searchParams]])
  }
  return normal(one) === normal(other)
}
