/** What the log has by its level and at the end of a process, told by services that run one after the other. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { expectProblem, JWT_SECRET, until } from '../support/http/client.ts'
import { linesOf } from '../support/http/log-lines.ts'
import { openParts, runtime } from '../support/process/acceptance.ts'
import { freePort } from '../support/process/port.ts'
import { tied } from '../support/process/process.ts'
import { commandFor, startService } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'

const parts = await openParts()
const env = { ...parts.env, AUTH_JWT_SECRET: JWT_SECRET }
setDefaultTimeout(60_000)
afterAll(parts.remove)

/** What a service writes of its life and `count` requests, the last of them just before SIGTERM. */
async function lifeAt(settings: Record<string, string>, count: number) {
  const service = await startService({ runtime, env: { ...env, ...settings } })
  const answers = await Promise.all(Array.from({ length: count }, () => fetch(`${service.baseUrl}/media`)))
  await service.stop()
  for (const answer of answers) await expectProblem(answer, 401, 'token_missing')
  const lines = linesOf(service.logs())
  const requestIds = answers.map(({ headers }) => headers.get('x-request-id'))
  return { lines, requestIds, said: lines.map(({ msg, route }) => route ?? msg) }
}

test('requests just before SIGTERM are in the log, and health checks are not', async () => {
  const { lines, requestIds, said } = await lifeAt({}, 20)
  expect(lines.map(({ requestId }) => requestId)).toEqual(expect.arrayContaining(requestIds))
  expect(said).not.toContain('/health/ready')
})

test('LOG_LEVEL debug shows the requests of health checks', async () => {
  const { said } = await lifeAt({ LOG_LEVEL: 'debug' }, 1)
  expect(said).toEqual(expect.arrayContaining(['/health/ready', '/media', 'service: started']))
})

test('LOG_LEVEL warn leaves out what went as it should', async () => {
  const { said } = await lifeAt({ LOG_LEVEL: 'warn' }, 1)
  // What there is to say of MinIO.
  expect(said.filter((one) => !String(one).startsWith('storage: takes unsigned '))).toEqual([])
})

test('the log has lines for people on a terminal', async () => {
  const port = await freePort()
  let written = ''
  const text = new TextDecoder()
  const { PATH, HOME } = process.env
  const child = Bun.spawn(tied(commandFor(runtime, port)), {
    cwd: repository,
    env: { PATH, HOME, ...env, PORT: String(port) },
    terminal: {
      cols: 200,
      rows: 50,
      data(_, bytes) {
        written += text.decode(bytes, { stream: true })
      },
    },
  })
  await until(async () => expect((await fetch(`http://127.0.0.1:${port}/media`)).status).toBe(401), 20_000)
  await until(() => expect(Bun.stripANSI(written)).toMatch(/INFO: request GET \/media 401, [\d.]+ ms/))
  expect(Bun.stripANSI(written)).toContain('service: started')
  expect(linesOf(written)).toEqual([])
  child.kill('SIGTERM')
  await child.exited
})
