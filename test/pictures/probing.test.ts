import { expect, test } from 'bun:test'
import { createProbing } from '../../src/pictures/probing.ts'
import { refusal } from '../support/http/refusal.ts'

const never = () => new Promise<never>(() => {})

test('so many are read at once, the rest in order', async () => {
  const probe = createProbing({ concurrency: 2, deadlineMs: 5000 })
  let running = 0
  let most = 0
  const order: number[] = []
  const read = (n: number) => async () => {
    running += 1
    most = Math.max(most, running)
    await Bun.sleep(1)
    running -= 1
    order.push(n)
    return n
  }
  const results = await Promise.all(Array.from({ length: 10 }, (_, n) => probe(read(n))))
  expect(results).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  expect(order).toEqual(results)
  expect(most).toBe(2)
})

test('one that takes too long is overload, as are those that waited for it: time says nothing about the bytes', async () => {
  const probe = createProbing({ concurrency: 1, deadlineMs: 50 })
  const [slow, waiting] = [refusal(probe(never)), refusal(probe(async () => 1))]
  expect(await slow).toMatchObject({ code: 'overloaded', kind: 'outage' })
  expect(await waiting).toMatchObject({ code: 'overloaded', kind: 'outage' })
})

test('a job that was given up before its turn is not begun when that comes', async () => {
  const probe = createProbing({ concurrency: 1, deadlineMs: 50 })
  const { promise, resolve } = Promise.withResolvers<void>()
  const begun: string[] = []
  const [slow, waiting] = [refusal(probe(() => promise)), refusal(probe(async () => begun.push('waiting')))]
  await Promise.all([slow, waiting])
  resolve()
  expect(await probe(async () => begun.push('next'))).toBe(1)
  expect(begun).toEqual(['next'])
})

test('a place is free again after a failure', async () => {
  const probe = createProbing({ concurrency: 1, deadlineMs: 5000 })
  await expect(probe(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  expect(await probe(async () => 1)).toBe(1)
})
