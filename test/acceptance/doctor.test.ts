import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { diagnose } from '../../src/doctor/examine.ts'
import { sentenceOf } from '../../src/finding.ts'
import { JWT_SECRET } from '../support/http/client.ts'
import { backend, openStage, runtime } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'
import { denoBinary } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { startNative } from '../support/services/native.ts'
import { findNginx, haveNginx, startNginx } from '../support/services/nginx.ts'

const MAX_UPLOAD_BYTES = String(2 * 1024 * 1024)
const stage = await openStage({ MAX_UPLOAD_BYTES, CORS_ORIGIN: 'https://app.example.com' })
/** Of a doctor that looks at the gateway alone. */
const env = { AUTH_JWT_SECRET: JWT_SECRET, MAX_UPLOAD_BYTES }
let folder: Folder
const ends: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  folder = await createFolder()
})
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  await stage.close()
  await folder.remove()
}, 60_000)

async function linesOf(gateway: string, headers: Record<string, string> = {}): Promise<string[]> {
  const { findings } = await diagnose(env, { gateway, headers })
  return findings.map((finding) => `${finding.severity}: ${sentenceOf(finding)}`)
}

// What fetch is to the runtime, the test of the command below has.
describe.skipIf(runtime !== 'bun' || !haveNginx())('the gateway', () => {
  /** Each takes something away from what passes. */
  const faults: [what: string, lines: string, line: string][] = [
    [
      'a small limit for bodies',
      'client_max_body_size 1m;',
      'it takes no body of MAX_UPLOAD_BYTES (2097152 bytes); raise',
    ],
    [
      'streams held back',
      'proxy_ignore_headers X-Accel-Buffering;',
      'it holds event streams back; switch off its buffering',
    ],
    ['no Idempotency-Key', 'proxy_set_header Idempotency-Key "";', 'it takes headers from requests: Idempotency-Key; '],
    ['no Last-Event-ID', 'proxy_set_header Last-Event-ID "";', 'it takes headers from requests: Last-Event-ID; have'],
    ['no Tus-Resumable', 'proxy_set_header Tus-Resumable "";', 'it takes headers from requests: Tus-Resumable; have'],
    [
      'no Authorization',
      'proxy_set_header Authorization "";',
      'it takes headers from requests: Authorization; have it',
    ],
    ['no way to the service', 'return 502;', '/media is answered 502; route /media to the service'],
  ]
  const ports = new Map<string, number>()
  beforeAll(async () => {
    const servers: string[] = []
    for (const [, lines] of faults) {
      const port = await freePort()
      ports.set(lines, port)
      servers.push(`server { listen 127.0.0.1:${port}; ${lines} location / { proxy_pass ${stage.service.baseUrl}; } }`)
    }
    const temporary = ['client_body', 'proxy', 'fastcgi', 'scgi', 'uwsgi'].map((name) => `${name}_temp_path ${name};`)
    const config = `events {} http { access_log off; client_max_body_size 9m; ${temporary.join(' ')} ${servers.join('\n')} }`
    await Bun.write(join(folder.path, 'nginx.conf'), config)
    const place = ['-p', folder.path, '-c', join(folder.path, 'nginx.conf'), '-e', 'stderr']
    const url = `http://127.0.0.1:${ports.get(faults[0]?.[1] ?? '')}`
    const { stop } = await startNative({
      ...{ name: 'nginx', url, folder: folder.path, stopSignal: 'SIGTERM' },
      command: [findNginx() ?? 'nginx', ...place, '-g', `daemon off; pid ${join(folder.path, 'nginx.pid')};`],
      answers: async () => void (await fetch(url, { keepalive: false })),
    })
    ends.push(stop)
  }, 60_000)

  test.each(faults)('with %s is named by one line', async (_, lines, line) => {
    const found = await linesOf(`http://127.0.0.1:${ports.get(lines)}`)
    expect([found.length, found[0]]).toEqual([1, expect.stringContaining(line)])
  })

  test('that is not reachable, or that does not know the caller, is unknown', async () => {
    const [away, strange] = [`http://127.0.0.1:${await freePort()}`, stage.service.baseUrl]
    expect(await linesOf(away)).toEqual([expect.stringMatching(/^unknown: --gateway: .* is not reachable from here/)])
    const [line, ...more] = await linesOf(strange, { authorization: 'Bearer of-nobody' })
    expect([line, more]).toEqual([
      expect.stringMatching(/^unknown: .* does not know the caller \(401\); name cred/),
      [],
    ])
  })
})

/** Runs the command as documented for this runtime. */
async function doctor(settings: Record<string, string>, args: string[]): Promise<{ code: number; out: string }> {
  const { PATH = '', HOME = '' } = process.env
  const allowed = ['net', 'env', 'read', 'sys'].map((right) => `--allow-${right}`)
  const program =
    runtime === 'bun' ? [process.execPath, '--no-env-file'] : [denoBinary(), 'run', '--no-lock', ...allowed]
  const child = Bun.spawn([...program, 'src/cli/doctor.ts', ...args], {
    cwd: repository,
    env: { PATH, HOME, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  expect(err).toBe('')
  return { code, out }
}

test('a misspelt setting is in the log of a start', () => {
  const sentence = 'settings: CORS_ORIGIN: is not a setting and does nothing; CORS_ORIGINS may be meant'
  expect(stage.service.logs().split(sentence)).toHaveLength(2)
})

describe('bun run doctor', () => {
  test.skipIf(backend === 'embedded' || !haveNginx())('finds nothing wrong with a right set-up', async () => {
    const { url, stop } = await startNginx(folder.path, [stage.service.baseUrl])
    ends.push(stop)
    const { CORS_ORIGIN, ...others } = stage.env
    const settings = { ...others, CORS_ORIGINS: CORS_ORIGIN ?? '' }
    expect(await doctor(settings, ['--gateway', url])).toEqual({
      code: 0,
      out: 'Nothing is wrong. Looked at: settings, database, store, Redis, gateway.\n',
    })
  })

  test('has one line, or object, for each finding, and fails', async () => {
    const sentence =
      'BACKUP_MARKER: there is no /none, so no backup has ended; have each backup write it when it has ended'
    const settings = { AUTH_JWT_SECRET: JWT_SECRET, BACKUP_MARKER: '/none' }
    expect(await doctor(settings, [])).toEqual({
      code: 1,
      out: `! backup  ${sentence}\n\nLooked at: settings, backup.\n`,
    })
    const { code, out } = await doctor({ ...settings, PORT: 'http' }, ['--json'])
    expect([code, JSON.parse(out)]).toEqual([
      1,
      {
        findings: [expect.objectContaining({ subject: 'settings', setting: 'PORT', severity: 'wrong' })],
        lookedAt: ['settings'],
      },
    ])
  })
})
