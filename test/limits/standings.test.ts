import { describe, expect, test } from 'bun:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { countBehind } from '../../src/limits/count-behind.ts'
import type { Standing } from '../../src/limits/gather-counts.ts'
import { createStandings } from '../../src/limits/standings.ts'

describe('standings of keys', () => {
  test('are known until their window ends', () => {
    let now = 0
    const { note, get } = createStandings(() => now)
    expect(get('a')).toBeUndefined()
    note('a', { place: 7, msLeft: 1000 })
    now = 999
    expect(get('a')).toEqual({ place: 7, ahead: 0, until: 1000 })
    now = 1000
    expect(get('a')).toBeUndefined()
  })

  test('are so many at most; the oldest is forgotten first', () => {
    const { note, get } = createStandings(() => 0, 2)
    for (const key of ['a', 'b', 'c']) note(key, { place: 1, msLeft: 1000 })
    expect(['a', 'b', 'c'].map((key) => get(key)?.place)).toEqual([undefined, 1, 1])
  })
})

describe('counts that follow their requests', () => {
  function setUp(
    answer = async (sent: Record<string, number>): Promise<Standing[]> => {
      return Object.values(sent).map((by) => ({ place: 100 + by, msLeft: 1000 }))
    },
  ) {
    const sent: Record<string, number>[] = []
    const failures: unknown[] = []
    const behind = countBehind(
      (counts) => {
        const one = Object.fromEntries(counts)
        sent.push(one)
        return answer(one)
      },
      (error) => failures.push(error),
    )
    const { note, get } = createStandings(() => 0)
    const standing = (key: string) => {
      if (get(key) === undefined) note(key, { place: 1, msLeft: 1000 })
      const known = get(key)
      if (known === undefined) throw new Error('a noted key is known')
      return known
    }
    return { sent, failures, behind, standing }
  }

  test('go together, and correct what this replica knows by what others have counted', async () => {
    const { sent, behind, standing } = setUp()
    for (const key of ['a', 'b', 'a']) behind.add(key, standing(key))
    expect(standing('a')).toMatchObject({ place: 3, ahead: 2 })
    await behind.send()
    expect(sent).toEqual([{ a: 2, b: 1 }])
    expect(standing('a')).toMatchObject({ place: 102, ahead: 0 })
  })

  test('go by themselves within milliseconds', async () => {
    const { sent, behind, standing } = setUp()
    behind.add('a', standing('a'))
    while (sent.length === 0) await sleep(1)
    expect(sent).toEqual([{ a: 1 }])
  })

  test('go before a count that must include them, and only then', () => {
    const { sent, behind, standing } = setUp()
    behind.add('a', standing('a'))
    behind.sendIfAny('b')
    expect(sent).toEqual([])
    behind.sendIfAny('a')
    expect(sent).toEqual([{ a: 1 }])
  })

  test('are of 64 keys at most in one command', async () => {
    const { sent, behind, standing } = setUp()
    for (let i = 0; i < 150; i++) behind.add(`key-${i}`, standing(`key-${i}`))
    await behind.send()
    expect(sent.map((counts) => Object.keys(counts).length)).toEqual([64, 64, 22])
  })

  test('stay with the requests that came meanwhile, and with none when they fail', async () => {
    const { promise, reject } = Promise.withResolvers<Standing[]>()
    const { failures, behind, standing } = setUp(() => promise)
    behind.add('a', standing('a'))
    const sending = behind.send()
    behind.add('a', standing('a'))
    expect(standing('a')).toMatchObject({ place: 3, ahead: 2 })
    reject(new Error('Redis is gone'))
    await sending
    expect(failures).toHaveLength(1)
    expect(standing('a')).toMatchObject({ ahead: 1 })
  })
})
