import { expect, test } from 'bun:test'
import { claimAt } from '../../src/auth/claim.ts'

const claims = {
  role: 'service',
  realm_access: { roles: ['a', 'service'] },
  resource_access: { 'media.example.com': { roles: ['b'] }, media: { roles: ['c'] } },
  'https://example.com/roles': ['d'],
  'a.b': { c: 'whole' },
  a: { b: { c: 'by parts', d: 'only by parts' } },
}

test.each([
  ['role', 'service'],
  ['realm_access.roles', ['a', 'service']],
  ['resource_access.media.example.com.roles', ['b']],
  ['resource_access.media.roles', ['c']],
  ['https://example.com/roles', ['d']],
  ['a.b.c', 'whole'],
  ['a.b.d', 'only by parts'],
  ['role.length', undefined],
  ['realm_access.roles.0', undefined],
  ['constructor.name', undefined],
  ['__proto__', undefined],
  ['.', undefined],
  ['', undefined],
])('%s', (path, value) => {
  expect(claimAt(claims, path)).toEqual(value)
})
