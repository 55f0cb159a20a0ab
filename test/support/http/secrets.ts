const NAMES = ['AUTH_JWT_SECRET', 'GATEWAY_SECRET', 'LINK_SECRET', 'AWS_SECRET_ACCESS_KEY']
const URLS = ['DATABASE_URL', 'REDIS_URL', 'AUTH_JWKS_URL']

// Of a JWT, and of a signed link into either store.
const SHAPES = [/\beyJ[\w-]{5,}\.[\w-]*/, /[?&]X-Amz-Signature=(?!\[)/i, /[?&]signature=(?!\[)/i]

/** Throws when a service that was started with these settings wrote one of their secrets, a token, or a signature. */
export function expectNoSecrets(written: string, env: Record<string, string>): void {
  const secrets = [
    ...NAMES.flatMap((name) => env[name]?.split(',') ?? []),
    ...URLS.flatMap((name) => passwordIn(env[name])),
  ]
  // The embedded default prints a token, for whoever has just started it to paste.
  const development = !env.AUTH_JWT_SECRET && !env.AUTH_JWKS_URL && !env.GATEWAY_SECRET
  const shapes = development ? SHAPES.slice(1) : SHAPES
  // What is too short to be taken as a secret stands in any text.
  const real = secrets.filter((value) => value.length >= 16)
  const found = written
    .split('\n')
    .filter((line) => real.some((value) => line.includes(value)) || shapes.some((shape) => shape.test(line)))
  if (found.length > 0) throw new Error(`The service wrote what nobody may read:\n${found.join('\n')}`)
}

/** As it stands in the URL, and as it is. */
function passwordIn(url: string | undefined): string[] {
  const password = url && URL.canParse(url) ? new URL(url).password : ''
  return [password, decodeURIComponent(password)]
}
