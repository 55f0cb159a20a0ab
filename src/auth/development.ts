/** The development token, for the embedded default. */
import { SignJWT } from 'jose'

const DEVELOPER = '00000000-0000-4000-8000-000000000001'

/** An HS256 token of a fixed user, valid for 30 days. */
export function developmentToken(jwtSecret: string): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(DEVELOPER)
    .setIssuedAt()
    .setExpirationTime('30d')
    .sign(new TextEncoder().encode(jwtSecret))
}
