import { describe, expect, test } from 'bun:test'
import { gatherCounts, type Standing } from '../../src/limits/gather-counts.ts'

/** Counts as Redis would; `sent` has what came in one command. */
function createCounter({ fail = false } = {}) {
  const places = new Map<string, number>()
  const sent: Record<string, number>[] = []
  const count = gatherCounts(async (counts) => {
    sent.push(Object.fromEntries(counts))
    if (fail) throw new Error('Redis is gone')
    return [...counts].map(([key, by]): Standing => {
      const place = (places.get(key) ?? 0) + by
      places.set(key, place)
      return { place, msLeft: 1000 }
    })
  })
  return { count, sent }
}

describe('counts of one turn of the event loop', () => {
  test('are sent together, and each call gets the place that it would have alone', async () => {
    const { count, sent } = createCounter()
    const first = await Promise.all(['a', 'b', 'a', 'a'].map(count))
    expect(first.map(({ place }) => place)).toEqual([1, 1, 2, 3])
    const second = await Promise.all(['b', 'a'].map(count))
    expect(second.map(({ place }) => place)).toEqual([2, 4])
    expect(sent).toEqual([
      { a: 3, b: 1 },
      { b: 1, a: 1 },
    ])
  })

  test('are sent without waiting for those of another turn', async () => {
    const { promise: never } = Promise.withResolvers<Standing[]>()
    let sent = 0
    const count = gatherCounts(() => {
      sent += 1
      return sent === 1 ? never : Promise.resolve([{ place: 1, msLeft: 1000 }])
    })
    void count('a')
    await new Promise(setImmediate)
    expect(await count('a')).toEqual({ place: 1, msLeft: 1000 })
  })

  test('have 64 keys at most in one command, however many come', async () => {
    const { count, sent } = createCounter()
    const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`)
    const standings = await Promise.all([...keys, ...keys].map(count))
    const sizes = sent.map((counts) => Object.keys(counts).length)
    expect(Math.max(...sizes)).toBe(64)
    // Every key is counted twice, and nobody gets an answer of another key's.
    for (const [i] of keys.entries()) expect([standings[i]?.place, standings[i + 200]?.place].sort()).toEqual([1, 2])
    expect(sent.flatMap((counts) => Object.values(counts)).reduce((sum, by) => sum + by)).toBe(400)
  })

  test('all fail when their command does', async () => {
    const { count } = createCounter({ fail: true })
    const outcomes = await Promise.allSettled(['a', 'b', 'a'].map(count))
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  })

  test('fail when an answer is missing, and none waits for ever', async () => {
    const count = gatherCounts(async () => [{ place: 1, msLeft: 1000 }])
    const outcomes = await Promise.allSettled(['a', 'b'].map(count))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })
})
