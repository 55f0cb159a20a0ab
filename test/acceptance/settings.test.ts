import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { startAndFail } from '../support/process/acceptance.ts'
import { repository } from '../support/repository.ts'

setDefaultTimeout(60_000)

describe('wrong settings', () => {
  const wrong = {
    PORT: '99999',
    NODE_ENV: 'staging',
    PUBLIC_BASE_URL: 'media.example.test',
    CONSOLE: 'yes',
    CORS_ORIGINS: '*',
    AUTH_JWKS_URL: 'file:///keys.json',
    RATE_LIMIT_PER_MINUTE: '-1',
    TRUSTED_PROXIES: 'all',
    QUOTA_BYTES: '1 GB',
    QUOTA_OBJECTS: '1.5',
    DATABASE_URL: 'mysql://127.0.0.1/media',
    REDIS_URL: 'http://127.0.0.1',
    S3_ENDPOINT: 'ftp://127.0.0.1',
    S3_PUBLIC_ENDPOINT: 'nonsense',
    S3_BUCKET: 'My_Bucket',
    AUTH_JWT_SECRET: 'short',
    GATEWAY_SECRET: 'short too',
    LINK_SECRET: 'x',
    MAX_UPLOAD_BYTES: '32 MB',
    MAX_OBJECT_BYTES: '-1',
    ALLOWED_TYPES: 'image/jpeg,text/html',
    MAX_IMAGE_PIXELS: '1e9',
    SIGNED_URL_SECONDS: '0',
    UPLOAD_URL_SECONDS: '604801',
    PENDING_SECONDS: '1.5',
    RETENTION_SECONDS: 'forever',
    AWS_ACCESS_KEY_ID: 'without-a-secret',
  }

  test('are reported all at once, each by name and with what was expected; the exit code is 1', async () => {
    const { code, logs } = await startAndFail(wrong)
    expect(code).toBe('1')
    for (const name of Object.keys(wrong)) expect(logs).toMatch(new RegExp(`^\\s*${name}\\b.*expected`, 'm'))
  })

  test('are reported without the secrets in them', async () => {
    const password = 'hunter2-is-a-secret'
    const { code, logs } = await startAndFail({
      DATABASE_URL: `mysql://user:${password}@127.0.0.1/media`,
      REDIS_URL: `http://:${password}@127.0.0.1`,
      AUTH_JWT_SECRET: password,
    })
    expect(code).toBe('1')
    expect(logs).not.toContain(password)
  })

  test('are all that is missing in production, when nothing is set', async () => {
    const { code, logs } = await startAndFail({ NODE_ENV: 'production' })
    expect(code).toBe('1')
    for (const name of [
      'PUBLIC_BASE_URL',
      'DATABASE_URL',
      'REDIS_URL',
      'S3_BUCKET',
      'AUTH_JWT_SECRET',
      'GATEWAY_SECRET',
    ])
      expect(logs).toContain(name)
  })

  test('are also, in production, those of which only some are set', async () => {
    const { logs } = await startAndFail({
      NODE_ENV: 'production',
      REDIS_URL: 'redis://127.0.0.1:1',
      GATEWAY_SECRET: 'a secret that is long enough for anybody',
    })
    expect(logs).toContain('DATABASE_URL')
    expect(logs).toContain('S3_BUCKET')
    expect(logs).not.toContain('REDIS_URL')
    expect(logs).not.toContain('AUTH_JWT_SECRET')
  })
})

describe('bun run config', () => {
  test('prints every setting with its documentation, default and value, and no secret', async () => {
    const secret = 'a secret that nobody else may read'
    const { code, stdout } = await printConfig({ AUTH_JWT_SECRET: secret, PORT: '9090' })
    expect(code).toBe(0)
    for (const name of names) expect(stdout).toMatch(new RegExp(`^${name}\\b`, 'm'))
    expect(stdout).toContain('9090')
    expect(stdout).not.toContain(secret)
    for (const fallback of ['127.0.0.1', '.data', '900', '86400', '2592000', '33554432', '5368709120', '100000000'])
      expect(stdout).toContain(fallback)
  })

  const names = `PORT HOST DATABASE_URL REDIS_URL S3_ENDPOINT S3_PUBLIC_ENDPOINT S3_REGION S3_BUCKET AWS_ACCESS_KEY_ID
    AWS_SECRET_ACCESS_KEY AUTH_JWT_SECRET AUTH_ISSUER AUTH_AUDIENCE GATEWAY_SECRET LINK_SECRET PUBLIC_BASE_URL
    CORS_ORIGINS MAX_UPLOAD_BYTES MAX_OBJECT_BYTES ALLOWED_TYPES MAX_IMAGE_PIXELS SIGNED_URL_SECONDS
    UPLOAD_URL_SECONDS PENDING_SECONDS RETENTION_SECONDS DATA_DIR AUTH_JWKS_URL RATE_LIMIT_PER_MINUTE QUOTA_BYTES
    QUOTA_OBJECTS`.split(/\s+/)
})

async function printConfig(env: Record<string, string>): Promise<{ code: number; stdout: string }> {
  const child = Bun.spawn([process.execPath, '--no-env-file', 'run', 'config'], {
    cwd: repository,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stderr: 'ignore',
  })
  const stdout = await new Response(child.stdout).text()
  return { code: await child.exited, stdout }
}
