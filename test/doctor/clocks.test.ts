import { expect, test } from 'bun:test'
import { compareClocks } from '../../src/doctor/clocks.ts'
import { sentenceOf } from '../../src/finding.ts'

const NOW = 1_800_000_000_000
const linesOf = (clocks: Record<string, number>, took = 0) =>
  compareClocks(
    Object.entries(clocks).map(([name, ahead]) => {
      return { setting: 'SETTING', name, time: NOW + ahead + took / 2, from: NOW, until: NOW + took }
    }),
  ).map(sentenceOf)

test('a clock that differs is named, also by how much; all that differ alike are one line', () => {
  expect(linesOf({ a: 0, b: 4000, c: -4000 })).toEqual([])
  expect(linesOf({ a: 0, b: 60_000 })).toEqual([
    'SETTING: the clock of b is 60 s ahead of that of this machine; have NTP set both',
  ])
  expect(linesOf({ a: 60_000, b: -60_000 })).toHaveLength(2)
  expect(linesOf({ a: -60_000, b: -61_000 })).toEqual([
    "clock: this machine's clock is 60 s ahead of those of a, b; have NTP set it",
  ])
  expect(linesOf({ a: -60_000 })).toEqual([
    'SETTING: the clock of a is 60 s behind that of this machine; have NTP set both',
  ])
})

test('a slow answer is no wrong clock', () => {
  expect(linesOf({ a: 8000 }, 10_000)).toEqual([])
  expect(linesOf({ a: 11_000 }, 10_000)).toHaveLength(1)
})
