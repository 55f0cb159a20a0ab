import { describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { runToEnd } from './support/process/process.ts'
import { repository } from './support/repository.ts'
import { ServicesMissing, startServices, withoutServices } from './support/services/services.ts'
import { haveServices } from './support/services/shared.ts'

const given = { TEST_DATABASE_URL: 'a', TEST_REDIS_URL: 'b', TEST_S3_ENDPOINT: 'c' }
const { check } = (await Bun.file(join(repository, 'package.json')).json()).scripts

test('the quick check runs types, lint and unit tests, and does without services', () => {
  expect(check).toBe('TEST_SERVICES=none CI= bun test/run.ts types lint unit')
})

describe.skipIf(!withoutServices())('in a run without services', () => {
  test.each([[{}], [{ ...given, TEST_S3_ACCESS_KEY_ID: 'd', TEST_S3_SECRET_ACCESS_KEY: 'e' }]])(
    'nothing starts any, or uses those of %p',
    async (settings) => {
      const started = await startServices(settings).catch((error: unknown) => error)
      expect(started).toBeInstanceOf(ServicesMissing)
      expect(await haveServices()).toBe(false)
    },
  )
})

test('a test of a run without services sees none, whatever the machine has', async () => {
  const command = [process.execPath, 'test', 'test/check.test.ts', '-t', 'in a run without services']
  if (!withoutServices()) await runToEnd(command, { cwd: repository, env: { TEST_SERVICES: 'none' } })
})
