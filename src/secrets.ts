/** Secrets under rotation, and HMACs with them. */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** The first signs; all of them verify, so that what the one before or after it signed is good during a rotation. */
export type Secrets = readonly [string, ...string[]]

/** HMAC-SHA-256 in base64url. */
export function hmac(text: string, secret: string): string {
  return createHmac('sha256', secret).update(text).digest('base64url')
}

/** Whether one of the secrets made this HMAC of the text. The time tells nothing about any. */
export function isHmac(presented: string, text: string, secrets: Secrets): boolean {
  const given = Buffer.from(presented)
  return secrets.some((secret) => {
    const expected = Buffer.from(hmac(text, secret))
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
}
