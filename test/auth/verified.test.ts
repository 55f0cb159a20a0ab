import { afterEach, expect, setSystemTime, test } from 'bun:test'
import { createVerified } from '../../src/auth/verified.ts'

const caller = (userId: string) => ({ userId, role: 'user' as const })

afterEach(() => setSystemTime())

test('a token is known until it expires', () => {
  const verified = createVerified(10)
  expect(verified.callerOf('a')).toBeUndefined()
  verified.remember('a', caller('1'), Date.now() + 1000)
  expect(verified.callerOf('a')).toEqual(caller('1'))
  expect(verified.callerOf('b')).toBeUndefined()
  setSystemTime(new Date(Date.now() + 1000))
  expect(verified.callerOf('a')).toBeUndefined()
})

test('no more than so many are kept, the latest ones', () => {
  const verified = createVerified(3)
  for (const token of ['a', 'b', 'c', 'd', 'e']) verified.remember(token, caller(token), Date.now() + 1000)
  expect(['a', 'b', 'c', 'd', 'e'].map((token) => verified.callerOf(token)?.userId)).toEqual([
    undefined,
    undefined,
    'c',
    'd',
    'e',
  ])
})
