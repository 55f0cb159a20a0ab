import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { ConfigError, describeSettings, readConfig } from '../src/config/config.ts'
import { NO_QUOTAS } from '../src/media/object/quota.ts'
import { repository } from './support/repository.ts'

type Env = Record<string, string>

const SECRET = 'a secret of at least thirty-two characters'
const production: Env = {
  NODE_ENV: 'production',
  PUBLIC_BASE_URL: 'https://media.example.com',
  DATABASE_URL: 'postgres://media:pw@db/media',
  REDIS_URL: 'redis://:pw@redis:6379',
  S3_BUCKET: 'media',
  AUTH_JWT_SECRET: SECRET,
}

/** The lines that say what is wrong, without their indentation. */
function complaintsAbout(env: Env): string[] {
  try {
    readConfig(env)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim())
  }
}

describe('readConfig', () => {
  test('without any setting gives the embedded default, on this machine alone', () => {
    const config = readConfig({})
    const { listen, ports, http, media } = config
    expect(listen).toEqual({ host: '127.0.0.1', port: 8080 })
    expect(ports.dataDir).toBe('.data')
    expect(http.corsOrigins).toEqual([])
    for (const part of [ports.databaseUrl, ports.redisUrl, ports.s3, http.publicBaseUrl, ports.linkSecrets])
      expect(part).toBeUndefined()
    const formats = ['jpeg', 'png', 'webp', 'gif', 'avif', 'heic']
    expect([...media.allowedTypes]).toEqual(formats.map((format) => `image/${format}`))
  })

  test('has the documented defaults of sizes and times', () => {
    expect(readConfig({}).media).toMatchObject({
      maxUploadBytes: 32 * 1024 * 1024,
      maxObjectBytes: 5 * 1024 * 1024 * 1024,
      maxImagePixels: 100_000_000,
      signedUrlSeconds: 900,
      uploadUrlSeconds: 900,
      pendingSeconds: 86_400,
      retentionSeconds: 30 * 86_400,
      quotas: NO_QUOTAS,
    })
  })

  test('takes an empty value for an absent one', () => {
    const empty = Object.fromEntries(settingNames().map((name) => [name, '']))
    expect(readConfig(empty)).toEqual(readConfig({}))
  })

  test('says everything that is wrong at once, each with its name and what was expected', () => {
    const complaints = complaintsAbout({
      PORT: '80 80',
      DATABASE_URL: 'mysql://db',
      REDIS_URL: 'not a url',
      S3_BUCKET: 'No Bucket',
      CORS_ORIGINS: 'https://ok.example, https://no.example/path',
      AUTH_JWT_SECRET: 'short',
      MAX_UPLOAD_BYTES: '0',
      ALLOWED_TYPES: 'image/png,text/html',
      SIGNED_URL_SECONDS: '604801',
      AWS_ACCESS_KEY_ID: 'alone',
    })
    expect(complaints).toEqual([
      expect.stringMatching(/^PORT: expected a whole number from 1 to 65535$/),
      expect.stringMatching(/^CORS_ORIGINS: expected origins/),
      expect.stringMatching(/^DATABASE_URL: expected a postgres:\/\/ URL$/),
      expect.stringMatching(/^REDIS_URL: expected a redis:\/\/ or rediss:\/\/ URL$/),
      expect.stringMatching(/^S3_BUCKET: expected 3 to 63/),
      expect.stringMatching(/^AUTH_JWT_SECRET: expected at least 32 characters$/),
      expect.stringMatching(/^MAX_UPLOAD_BYTES: expected a whole number from 1 to/),
      expect.stringMatching(/^ALLOWED_TYPES: .*text\/html$/),
      expect.stringMatching(/^SIGNED_URL_SECONDS: expected a whole number from 1 to 604800$/),
      expect.stringMatching(/^AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: expected both or neither$/),
    ])
  })

  test.each([
    ['PORT', ['0', '65536', '-1', '8080.5', '0x50', '1e3', ' 80', 'http']],
    ['AUTH_JWKS_URL', ['auth.example/jwks.json', 'file:///etc/keys.json', 'data:application/json,{}']],
    ['PUBLIC_BASE_URL', ['media.example', 'ftp://media.example', 'javascript:alert(1)']],
    [
      'CORS_ORIGINS',
      ['*', 'https://*.a.example', 'null', 'https://a.example/', 'a.example', 'https://a.example https://b.example'],
    ],
    ['ALLOWED_TYPES', ['image/*', 'text/html', ' , ', 'jpeg']],
    ['S3_FORCE_PATH_STYLE', ['yes', '1', 'TRUE']],
    ['GATEWAY_SECRET', ['short', `${SECRET},`, `${SECRET},short`, `,${SECRET}`, `${SECRET},${SECRET},${SECRET}`]],
    ['NODE_ENV', ['prod', 'staging']],
  ])('refuses %s of %j', (name, values) => {
    for (const value of values)
      expect(complaintsAbout({ [name]: value })).toEqual([expect.stringMatching(new RegExp(`^${name}: `))])
  })

  test('reads lists and addresses without their blanks and last slashes', () => {
    const config = readConfig({
      PUBLIC_BASE_URL: 'https://media.example/api/',
      CORS_ORIGINS: 'https://a.example, http://localhost:3000,',
      ALLOWED_TYPES: ' image/png ,video/mp4,text/csv, image/svg+xml,application/msword',
    })
    expect(config.http.publicBaseUrl).toBe('https://media.example/api')
    expect(config.http.corsOrigins).toEqual(['https://a.example', 'http://localhost:3000'])
    const types = ['image/png', 'video/mp4', 'text/csv', 'image/svg+xml', 'application/msword']
    expect([...config.media.allowedTypes]).toEqual(types)
  })
})

describe("a gateway's headers", () => {
  const headers = (env: Env) => readConfig({ GATEWAY_SECRET: SECRET, ...env }).auth.headers

  test('are X-User-Id and X-User-Role, or those of the settings', () => {
    expect(headers({})).toEqual({ user: 'X-User-Id', role: 'X-User-Role' })
    expect(headers({ GATEWAY_USER_HEADER: 'Remote-User' })).toEqual({ user: 'Remote-User', role: 'X-User-Role' })
  })

  test.each(['authorization', 'X-Gateway-Secret', 'Cookie', 'a b', 'x:y', 'ü'])(
    'cannot be %j, which is another or none',
    (name) => {
      for (const setting of ['GATEWAY_USER_HEADER', 'GATEWAY_ROLE_HEADER'])
        expect(complaintsAbout({ GATEWAY_SECRET: SECRET, [setting]: name })).toEqual([
          expect.stringMatching(new RegExp(`^${setting}: expected`)),
        ])
    },
  )

  test('are two, and need the secret of the gateway', () => {
    const one = { GATEWAY_USER_HEADER: 'remote-user', GATEWAY_ROLE_HEADER: 'Remote-User' }
    expect(complaintsAbout({ GATEWAY_SECRET: SECRET, ...one })).toEqual([
      'GATEWAY_USER_HEADER, GATEWAY_ROLE_HEADER: expected two different headers',
    ])
    expect(complaintsAbout({ GATEWAY_SECRET: SECRET, GATEWAY_USER_HEADER: 'x-user-role' })).toHaveLength(1)
    expect(complaintsAbout({ GATEWAY_USER_HEADER: 'Remote-User' })).toEqual([
      expect.stringMatching(/^GATEWAY_SECRET: expected beside GATEWAY_USER_HEADER/),
    ])
  })
})

test('a secret may be two, the one that signs first', () => {
  const next = SECRET.toUpperCase()
  const { auth, ports } = readConfig({
    AUTH_JWT_SECRET: SECRET,
    GATEWAY_SECRET: next,
    LINK_SECRET: `${next}, ${SECRET}`,
  })
  expect([auth.jwtSecrets, auth.gatewaySecrets, ports.linkSecrets]).toEqual([[SECRET], [next], [next, SECRET]])
})

describe('the S3 store', () => {
  const s3 = (env: Env) => readConfig(env).ports.s3

  test('is used when a bucket or an endpoint is set', () => {
    expect(s3({ S3_BUCKET: 'pictures' })).toMatchObject({ bucket: 'pictures', endpoint: undefined })
    expect(s3({ S3_ENDPOINT: 'http://minio:9000' })).toMatchObject({ bucket: 'media', region: 'us-east-1' })
    expect(s3({ S3_REGION: 'eu-west-1' })).toBeUndefined()
  })

  test('has the bucket in the path at an endpoint and in the host name at AWS, unless it is said', () => {
    expect(s3({ S3_ENDPOINT: 'http://minio:9000' })?.forcePathStyle).toBe(true)
    expect(s3({ S3_BUCKET: 'pictures' })?.forcePathStyle).toBe(false)
    expect(s3({ S3_ENDPOINT: 'http://minio:9000', S3_FORCE_PATH_STYLE: 'false' })?.forcePathStyle).toBe(false)
  })

  test('is reached by clients at its own endpoint unless another is set', () => {
    const S3_ENDPOINT = 'http://minio:9000'
    expect(s3({ S3_ENDPOINT })?.publicEndpoint).toBe(S3_ENDPOINT)
    const S3_PUBLIC_ENDPOINT = 'https://files.example'
    expect(s3({ S3_ENDPOINT, S3_PUBLIC_ENDPOINT })?.publicEndpoint).toBe(S3_PUBLIC_ENDPOINT)
    expect(complaintsAbout({ S3_PUBLIC_ENDPOINT })).toEqual([expect.stringMatching(/^S3_PUBLIC_ENDPOINT: /)])
  })

  test("is signed for with the given keys, or the SDK's own", () => {
    const keys = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' }
    expect(s3({ S3_BUCKET: 'media', ...keys })?.credentials).toEqual({ accessKeyId: 'id', secretAccessKey: 'secret' })
    expect(s3({ S3_BUCKET: 'media' })?.credentials).toBeUndefined()
  })
})

describe('in production', () => {
  test('every embedded part is an error that names the setting', () => {
    expect(complaintsAbout({ NODE_ENV: 'production' }).map((line) => line.split(':')[0])).toEqual([
      'PUBLIC_BASE_URL',
      'DATABASE_URL',
      'REDIS_URL',
      'S3_BUCKET or S3_ENDPOINT',
      expect.stringContaining('AUTH_JWT_SECRET'),
    ])
  })

  test('nothing is wrong with all parts set, and any way to authenticate will do', () => {
    expect(complaintsAbout(production)).toEqual([])
    const AUTH_JWKS_URL = 'https://auth.example/jwks.json'
    for (const other of [{ GATEWAY_SECRET: SECRET }, { AUTH_JWKS_URL }])
      expect(complaintsAbout({ ...production, AUTH_JWT_SECRET: '', ...other })).toEqual([])
  })
})

describe('describeSettings', () => {
  test('shows each setting once with its documentation and its default or value', () => {
    const text = describeSettings({ PORT: '9090' })
    expect(text).toContain('PORT\n  Port to listen on (under `deno serve`, its --port decides)\n  set: 9090')
    expect(text).toContain('\n  default: 900')
    expect(text).toMatch(/REDIS_URL\n.*\n {2}not set/)
    expect(new Set(settingNames()).size).toBe(settingNames().length)
  })

  test('takes the region of AWS where the store has none of its own, and a session token with its key only', () => {
    const regionOf = (env: Record<string, string>) => readConfig({ S3_BUCKET: 'media', ...env }).ports.s3?.region
    expect(regionOf({})).toBe('us-east-1')
    expect(regionOf({ AWS_REGION: 'cn-north-1' })).toBe('cn-north-1')
    expect(regionOf({ AWS_REGION: 'cn-north-1', S3_REGION: 'eu-west-1' })).toBe('eu-west-1')
    expect(() => readConfig({ AWS_SESSION_TOKEN: 'token' })).toThrow('AWS_SESSION_TOKEN: expected AWS_ACCESS_KEY_ID')
  })

  test('lists every setting that the service is specified to have', () => {
    expect(settingNames()).toEqual(
      expect.arrayContaining(
        `PORT HOST DATABASE_URL REDIS_URL S3_ENDPOINT S3_PUBLIC_ENDPOINT S3_REGION S3_BUCKET AWS_ACCESS_KEY_ID
        AWS_SECRET_ACCESS_KEY AUTH_JWT_SECRET AUTH_ISSUER AUTH_AUDIENCE GATEWAY_SECRET LINK_SECRET PUBLIC_BASE_URL
        CORS_ORIGINS MAX_UPLOAD_BYTES MAX_OBJECT_BYTES ALLOWED_TYPES MAX_IMAGE_PIXELS SIGNED_URL_SECONDS
        UPLOAD_URL_SECONDS PENDING_SECONDS RETENTION_SECONDS DATA_DIR AUTH_JWKS_URL RATE_LIMIT_PER_MINUTE QUOTA_BYTES
        QUOTA_OBJECTS`.split(/\s+/),
      ),
    )
  })

  test.each(['AUTH_JWKS_URL', 'S3_ENDPOINT', 'PUBLIC_BASE_URL'])(
    'hides the credentials in %s, and shows the rest',
    (name) => {
      const shown = (value: string) =>
        describeSettings({ [name]: value })
          .split('\n')
          .find((line) => line.includes('set: '))
      expect(shown('https://me:hunter2@auth.example/keys.json?key=hunter3#x')).toBe(
        '  set: https://(hidden)@auth.example/keys.json?(hidden)',
      )
      expect(shown('https://hunter2@auth.example/@keys')).toBe('  set: https://(hidden)@auth.example/@keys')
      expect(shown('https://auth.example/keys.json')).toBe('  set: https://auth.example/keys.json')
    },
  )

  test.each(['DATABASE_URL', 'REDIS_URL', 'AWS_SECRET_ACCESS_KEY', 'AUTH_JWT_SECRET', 'GATEWAY_SECRET', 'LINK_SECRET'])(
    'hides %s, and so does the error when it is wrong',
    (name) => {
      expect(describeSettings({ [name]: 'hunter2' })).not.toContain('hunter2')
      expect(complaintsAbout({ [name]: 'hunter2' }).join()).not.toContain('hunter2')
    },
  )
})

test('every setting can be given through the compose file, and nothing there is no setting', async () => {
  const file = (name: string) => Bun.file(join(repository, name)).text()
  const compose = Bun.YAML.parse(await file('docker-compose.yml')) as { services: { media: { environment: object } } }
  const inCompose = Object.keys(compose.services.media.environment)
  const inImage = [...(await file('Dockerfile')).matchAll(/^(?:ENV| {4})\s*([A-Z_]+)=/gm)].map(([, name]) => name)
  // Nothing is kept there in production.
  const known = settingNames().filter((name) => name !== 'DATA_DIR')
  expect([...inCompose, ...inImage].sort()).toEqual(known.sort())
})

function settingNames(): string[] {
  return describeSettings({})
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line))
}
