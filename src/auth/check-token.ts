/** A token of nobody, with which a check may call the service. */
import { SignJWT } from 'jose'

type Settings = { issuer: string | undefined; audience: string | undefined; claims: { user: string } }

/** An HS256 token of a user who has nothing, valid for five minutes. */
export function signCheckToken(jwtSecret: string, { issuer, audience, claims }: Settings): Promise<string> {
  // A claim whose name is a whole path is found as the path is.
  const token = new SignJWT({ [claims.user]: crypto.randomUUID() })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt()
    .setExpirationTime('5m')
  if (issuer !== undefined) token.setIssuer(issuer)
  if (audience !== undefined) token.setAudience(audience)
  return token.sign(new TextEncoder().encode(jwtSecret))
}
