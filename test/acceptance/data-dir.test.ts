import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { backend, openStage, runtime, startAndFail } from '../support/process/acceptance.ts'
import { startService } from '../support/process/service.ts'
import { createFolder } from '../support/services/folder.ts'

setDefaultTimeout(60_000)
const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing) await close()
})

test('DATA_DIR is for one process at a time, and says so to the second', async () => {
  // With a database and Redis elsewhere, only the files are embedded: that is enough.
  const files = await createFolder()
  const { env, get, service, uploaded, close } = await openStage(backend === 'real' ? onDisk(files.path) : {})
  closing.push(close, files.remove)
  const object = await uploaded(crypto.randomUUID())
  const { code, logs } = await startAndFail(env)
  expect(code).toBe('1')
  expect(logs).toContain('in use by another process')
  expect(logs).toContain(env.DATA_DIR ?? 'DATA_DIR')
  expect((await get(object.userId, object.id)).status).toBe(200)

  await service.kill()
  const next = await startService({ runtime, env })
  expect(await next.stop()).toBe(0)
})

/** Empty settings count as absent, so this takes the store away again. */
function onDisk(path: string): Record<string, string> {
  return {
    DATA_DIR: path,
    S3_ENDPOINT: '',
    S3_BUCKET: '',
    AWS_ACCESS_KEY_ID: '',
    AWS_SECRET_ACCESS_KEY: '',
  }
}
