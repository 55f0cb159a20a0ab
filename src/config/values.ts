/** The kinds of values that settings have: each a schema from text to value, whose error says what was expected. */
import { z } from 'zod'
import { parseDatabaseUrl } from '../db/url.ts'
import { isTellable } from '../media/object/media-type.ts'
import { parseSentinels } from '../redis/target.ts'
import type { Secrets } from '../secrets.ts'

/** What `parse` makes of the text; the message of its error is the setting's. */
const parsed = <T>(parse: (text: string) => T) =>
  z.string().transform((v, context) => {
    try {
      return parse(v)
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) })
      return z.NEVER
    }
  })

export const redisSentinels = parsed(parseSentinels)
/** A database URL, as text: the pool reads it again. */
export const databaseUrl = parsed((v) => {
  parseDatabaseUrl(v)
  return v
})

export const MiB = 1024 * 1024

export const text = z.string()
export const bucket = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'expected 3 to 63 lower-case letters, digits, dots and hyphens')
/** One secret, or two with a comma between them: so none has a comma in it. */
export const secrets = z.string().transform((v, context): Secrets => {
  const [first = '', ...more] = v.includes(',') ? v.split(',').map((secret) => secret.trim()) : [v]
  if (more.length <= 1 && [first, ...more].every((secret) => secret.length >= 32)) return [first, ...more]
  const each = more.length === 0 ? '' : ' in each of two secrets, separated by a comma'
  context.addIssue({ code: 'custom', message: `expected at least 32 characters${each}` })
  return z.NEVER
})
// Field names of RFC 9110, section 5.1. The others say already what a request is.
const TAKEN = new Set(['authorization', 'x-gateway-secret', 'cookie', 'host', 'content-type', 'content-length'])
export const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'expected the name of a header')
  .refine((v) => !TAKEN.has(v.toLowerCase()), 'expected a header that has no other meaning')
export const uuid = z.uuid('expected a UUID')
export const httpUrl = z
  .url({ protocol: /^https?$/, error: 'expected an http or https URL' })
  .transform((v) => v.replace(/\/+$/, ''))
const list = z.string().transform((v) =>
  v
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
)
export const origins = list.refine(
  (v) => v.every(isOrigin),
  'expected origins like https://app.example.com, comma-separated; no wildcard',
)
export const mediaTypes = list.refine((v) => v.length > 0 && v.every(isTellable), {
  error: ({ input }) =>
    `expected media types that the bytes show, or text types, comma-separated; not so: ${untellable(input).join(', ') || '(none given)'}`,
})
export const whole = (min: number, max: number) => {
  const expected = `expected a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^\d{1,16}$/, expected)
    .transform(Number)
    .refine((n) => n >= min && n <= max, expected)
}
export const sizes = list
  .refine(
    (v) => v.length > 0 && v.length <= 16 && v.every((size) => /^[1-9]\d{0,3}$/.test(size)),
    'expected 1 to 16 whole numbers from 1 to 9999, comma-separated',
  )
  .transform((v) => [...new Set(v.map(Number))].sort((a, b) => a - b))
export const quota = whole(0, 2 ** 50).transform((n) => (n === 0 ? null : n))
export const flag = z.enum(['true', 'false'], 'expected true or false').transform((v) => v === 'true')
export const seconds = whole(1, 10 * 365 * 86_400)
// SigV4 links are valid for at most seven days (AWS, "Authenticating Requests: Using Query Parameters").
export const linkSeconds = whole(1, 7 * 86_400)

function isOrigin(value: string): boolean {
  return URL.canParse(value) && new URL(value).origin === value && !value.includes('*')
}

function untellable(input: unknown): string[] {
  return Array.isArray(input) ? input.filter((type) => typeof type === 'string' && !isTellable(type)) : []
}
