import { expect, test } from 'bun:test'
import { inTime } from '../src/deadline.ts'

const never = new Promise<never>(() => {})
const late = () => {
  throw new Error('late')
}

test('work that ends in time has its own outcome', async () => {
  expect(await inTime(Promise.resolve(1), 60_000, late)).toBe(1)
  await expect(inTime(Promise.reject(new Error('its own')), 60_000, late)).rejects.toThrow('its own')
})

test('work that takes too long has the outcome of what is called then, a value or a failure', async () => {
  expect(await inTime(never, 1, () => 'instead')).toBe('instead')
  await expect(inTime(never, 1, late)).rejects.toThrow('late')
})

test('late work that fails afterwards is nobody’s failure', async () => {
  const work = Promise.withResolvers<void>()
  expect(await inTime(work.promise, 1, () => 'instead')).toBe('instead')
  work.reject(new Error('afterwards'))
  await Bun.sleep(0)
})
