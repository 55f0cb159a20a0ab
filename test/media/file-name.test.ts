import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { safeFileName } from '../../src/media/object/file-name.ts'
import { names } from '../support/pictures/corpus.ts'

const bytesOf = (name: string) => Buffer.byteLength(name)

describe('a file name of the corpus', () => {
  for (const { sent, stored, repeatX, storedMaxBytes, storedEndsWith } of names) {
    test(`${JSON.stringify(sent)} is stored as ${stored ?? `at most ${storedMaxBytes} bytes`}`, () => {
      const name = safeFileName(repeatX === undefined ? sent : `${'x'.repeat(repeatX)}.jpg`)
      if (stored !== undefined) expect(name).toBe(stored)
      if (storedMaxBytes !== undefined) expect(bytesOf(name)).toBe(storedMaxBytes)
      if (storedEndsWith !== undefined) expect(name).toEndWith(storedEndsWith)
    })
  }
})

describe('a file name', () => {
  test.each([
    ['photo.jpg. . .', 'photo.jpg'],
    ['photo.jpg\u00a0.', 'photo.jpg'],
    ['\u2067photo\u2069.jpg', 'photo.jpg'],
    ['a/b\\c/d.png', 'd.png'],
    ['folder/', 'untitled'],
    ['', 'untitled'],
    ['nul\0byte.jpg', 'nulbyte.jpg'],
    ['.hidden', '.hidden'],
    ['lone \ud83d.jpg', 'lone \ufffd.jpg'],
    ['constructor', 'constructor'],
  ])('%j becomes %j', (sent, stored) => {
    expect(safeFileName(sent)).toBe(stored)
  })

  test('that is too long keeps its extension and whole characters', () => {
    expect(safeFileName(`a/${'x'.repeat(8000)}.jpeg`)).toBe(`${'x'.repeat(250)}.jpeg`)
    expect(safeFileName(`${'🚀'.repeat(100)}.jpeg`)).toBe(`${'🚀'.repeat(62)}.jpeg`)
    expect(safeFileName('é'.repeat(200))).toBe('é'.repeat(127))
    expect(safeFileName(`${'x'.repeat(300)}.jpg...`)).toEndWith('x.jpg')
  })

  const parts = fc.constantFrom(
    ...[
      'a',
      '.',
      ' ',
      '/',
      '\\',
      '\u202e',
      '\u00a0',
      '\u3000',
      '\0',
      '\u0301',
      '\ud83d',
      '🚀',
      '.jpg',
      'x'.repeat(120),
    ],
  )
  const anything = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 600 }),
    fc.array(parts, { maxLength: 40 }).map((found) => found.join('')),
    fc.string({ unit: 'binary-ascii', maxLength: 600 }),
  )
  const holds = (rule: (name: string, sent: string) => void) =>
    fc.assert(
      fc.property(anything, (sent) => rule(safeFileName(sent), sent)),
      { numRuns: 2000 },
    )

  test('is never empty and never longer than 255 bytes', () => {
    holds((name) => expect(bytesOf(name)).toBeWithin(1, 256))
  })

  test('has no separator, no control and no character that turns the others around', () => {
    holds((name) => expect(name).not.toMatch(/[/\\\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/u))
  })

  test('is well-formed, normalised, and has no blank or dot to lose at its ends', () => {
    holds((name) => {
      expect(name.isWellFormed()).toBe(true)
      expect(name.normalize('NFC')).toBe(name)
      expect(name).toMatch(/^\S(.*[^.\s])?$/su)
    })
  })

  test('that was made safe is safe: a second time changes nothing', () => {
    holds((name) => expect(safeFileName(name)).toBe(name))
  })
})
