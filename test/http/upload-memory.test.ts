import { afterEach, beforeEach, describe, expect, jest, test } from 'bun:test'
import { createUploadMemory } from '../../src/http/body/memory.ts'

// A body counts two and a half times, so a budget of 1,000 holds four bodies of 100.
const BUDGET = 1000

/** A reservation, and whether it has been given. */
function ask(memory: ReturnType<typeof createUploadMemory>, caller: string, bytes: number) {
  const state = { given: false, release: () => {}, refused: undefined as unknown }
  memory.reserve(caller, bytes).then(
    (release) => Object.assign(state, { given: true, release }),
    (refused) => Object.assign(state, { refused }),
  )
  return state
}

const settled = () => Promise.resolve().then(() => Promise.resolve())

describe('memory for uploads', () => {
  beforeEach(() => jest.useFakeTimers())
  afterEach(() => jest.useRealTimers())

  test('is reserved while there is room, and then in order', async () => {
    const memory = createUploadMemory(BUDGET)
    const all = ['a', 'b', 'c', 'd', 'e', 'f'].map((caller) => ask(memory, caller, 100))
    await settled()
    expect(all.map(({ given }) => given)).toEqual([true, true, true, true, false, false])
    expect(memory.usage()).toEqual({ reserved: 1000, waiting: 2 })
    all[2]?.release()
    await settled()
    expect(all.map(({ given }) => given)).toEqual([true, true, true, true, true, false])
  })

  test('lets no small upload overtake a large one', async () => {
    const memory = createUploadMemory(BUDGET)
    const first = ask(memory, 'a', 200)
    const large = ask(memory, 'b', 300)
    const small = ask(memory, 'c', 10)
    await settled()
    expect([large.given, small.given]).toEqual([false, false])
    first.release()
    await settled()
    expect([large.given, small.given]).toEqual([true, true])
  })

  test('admits an upload larger than the whole budget, alone', async () => {
    const memory = createUploadMemory(BUDGET)
    const huge = ask(memory, 'a', 5000)
    const next = ask(memory, 'b', 1)
    await settled()
    expect([huge.given, next.given]).toEqual([true, false])
    huge.release()
    await settled()
    expect(next.given).toBe(true)
  })

  test('is shared among callers while others wait', async () => {
    const memory = createUploadMemory(BUDGET)
    const mine = Array.from({ length: 8 }, () => ask(memory, 'a', 100))
    const yours = ask(memory, 'b', 100)
    await settled()
    expect(mine.filter(({ given }) => given).length).toBe(4)
    mine[0]?.release()
    await settled()
    expect(yours.given).toBe(true)
    expect(mine.filter(({ given }) => given).length).toBe(4)
  })

  test('is refused to an upload that waited half a minute, which frees its place in the queue', async () => {
    const memory = createUploadMemory(BUDGET)
    const holder = ask(memory, 'a', 400)
    const late = ask(memory, 'b', 100)
    await settled()
    jest.advanceTimersByTime(30_000)
    await settled()
    expect(late.refused).toMatchObject({ code: 'overloaded', kind: 'outage' })
    expect(memory.contended()).toBe(false)
    holder.release()
    holder.release()
    expect(memory.usage()).toEqual({ reserved: 0, waiting: 0 })
  })
})
