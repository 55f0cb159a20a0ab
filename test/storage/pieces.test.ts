import { expect, test } from 'bun:test'
import { pieceOf, piecesPrefix, wholeOf } from '../../src/storage/tus.ts'

test('the key of a piece leads back to the key of its object', () => {
  for (const key of ['media/a/b.jpg', 'media/a/b.part7', 'media/a/.part'])
    for (const number of [0, 7, 10_000]) {
      expect(wholeOf(pieceOf(key, number))).toBe(key)
      expect(pieceOf(key, number)).toStartWith(piecesPrefix(key))
    }
})

test.each(['media/a/b.jpg', 'media/a/b.part', 'media/a/b.partly', 'media/a/b.part7x'])('%s is no piece', (key) => {
  expect(wholeOf(key)).toBe(key)
})
