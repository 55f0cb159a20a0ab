import { describe, expect, test } from 'bun:test'
import { v5 } from 'uuid'
import { createUserIds } from '../../src/auth/user-id.ts'

const NAMESPACE = '6f1d3a52-8f0e-4c1b-9d57-2b3c4d5e6f70'
const plain = createUserIds(undefined)
const mapping = createUserIds(NAMESPACE)

const names = [
  ['Auth0', 'auth0|5f7c8ec7c33c6c004bbafe82'],
  ['Auth0 with a social login', 'google-oauth2|108204268033311374519'],
  ['Clerk', 'user_2NNEqL2nrIRdJ194ndJqAHwEfxC'],
  ['Firebase', 'jNNS7iW0vVhGjuhXUQ0oqIlkUt82'],
  ['Entra', 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ'],
  ['Keycloak federation', 'f:4c9d6ed3-f2ac-4cf6-9a4a-4f1d7a3e6b9c:bob@example.com'],
  ['a number', '42'],
  ['letters beyond ASCII', 'jürgen'],
] as const

describe('a sub', () => {
  test.each(names)('of %s becomes its UUID of version 5, the same each time', (_, name) => {
    expect(plain.ofSubject(name)).toBeNull()
    expect(mapping.ofSubject(name)).toBe(v5(name, NAMESPACE))
    expect(createUserIds(NAMESPACE.toUpperCase()).ofSubject(name)).toBe(v5(name, NAMESPACE))
    expect(createUserIds('6f1d3a52-8f0e-4c1b-9d57-2b3c4d5e6f71').ofSubject(name)).not.toBe(v5(name, NAMESPACE))
  })

  test.each([
    ['of version 4', '0190F6A2-7C5E-4D52-B54B-3F7C1F0E6A11'],
    ['of version 7', '019ab1c2-7c5e-7d52-b54b-3f7c1f0e6a11'],
    ['of Cognito, of no version', '44280438-90d1-0052-c8b6-49aa2b4c71d4'],
    ['of the variant of Microsoft', '12345678-1234-5678-d234-567812345678'],
    ['of nothing but zeros', '00000000-0000-0000-0000-000000000000'],
  ])('that is a UUID %s is that one in lower case', (_, uuid) => {
    for (const ids of [plain, mapping]) expect(ids.ofSubject(uuid)).toBe(uuid.toLowerCase())
  })

  test("that is another user's derived UUID is not that user, in whichever case and however often", () => {
    const victim = mapping.ofSubject('auth0|victim') ?? ''
    const taken = [victim, victim.toUpperCase(), mapping.ofSubject(victim) ?? '']
    for (const sub of taken) {
      const attacker = mapping.ofSubject(sub)
      expect(attacker).toMatch(/^[0-9a-f-]{36}$/)
      expect([victim, sub.toLowerCase()]).not.toContain(attacker)
    }
    expect(mapping.ofHeader(victim)).toBe(mapping.ofSubject(victim))
    // Without a namespace nobody's id is derived.
    expect(plain.ofSubject(victim)).toBe(victim)
  })

  test('that cannot be told apart from another somewhere, is empty or too long, is no name', () => {
    const none = ['', ' ', ' bob', 'bob\n', 'bob\u00a0', 'b\0b', '\ud800', 'a'.repeat(256)]
    for (const sub of none) expect([sub, mapping.ofSubject(sub), mapping.ofParameter(sub)]).toEqual([sub, null, null])
    expect(mapping.ofSubject('a'.repeat(255))).not.toBeNull()
    expect(mapping.ofSubject('f:1:cn=Bob, ou=People')).not.toBeNull()
    // Not 8-4-4-4-12, so a name like any other.
    expect(mapping.ofSubject('0190f6a27c5e4d52b54b3f7c1f0e6a11')).toBe(
      v5('0190f6a27c5e4d52b54b3f7c1f0e6a11', NAMESPACE),
    )
  })
})

test.each(names)("a gateway's header and a parameter name the same user of %s as a sub", (_, name) => {
  const asBytes = Buffer.from(name, 'utf8').toString('latin1')
  expect(mapping.ofHeader(asBytes)).toBe(mapping.ofSubject(name))
  expect(mapping.ofParameter(name)).toBe(mapping.ofSubject(name))
})

test('a header that was sent twice, or is no UTF-8, names nobody', () => {
  for (const value of ['auth0|a, auth0|b', 'j\u00fcrgen']) expect(mapping.ofHeader(value)).toBeNull()
})

test('a parameter that is a UUID, of version 5 too, stands for itself', () => {
  const derived = mapping.ofSubject('auth0|victim') ?? ''
  for (const ids of [plain, mapping]) expect(ids.ofParameter(derived.toUpperCase())).toBe(derived)
  expect(plain.ofParameter('auth0|victim')).toBeNull()
})
