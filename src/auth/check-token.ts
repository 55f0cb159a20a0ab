/** A token of nobody, with which a check may call the service. */
import { SignJWT } from 'jose'

type Settings = { jwtSecret: string; issuer: string | undefined; audience: string | undefined }

/** An HS256 token of a user who has nothing, valid for five minutes. */
export function signCheckToken({ jwtSecret, issuer, audience }: Settings): Promise<string> {
  const token = new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(crypto.randomUUID())
    .setIssuedAt()
    .setExpirationTime('5m')
  if (issuer !== undefined) token.setIssuer(issuer)
  if (audience !== undefined) token.setAudience(audience)
  return token.sign(new TextEncoder().encode(jwtSecret))
}
