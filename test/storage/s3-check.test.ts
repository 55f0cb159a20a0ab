import { afterEach, describe, expect, test } from 'bun:test'
import { checkStore } from '../../src/storage/s3/check.ts'
import { createS3Storage } from '../../src/storage/s3/storage.ts'
import { repository } from '../support/repository.ts'
import { type Alteration, startAlteredStore, withoutDeleteObjects } from '../support/services/altered-store.ts'
import { leftIn, removeBucket } from '../support/services/buckets.ts'
import { haveServices } from '../support/services/shared.ts'
import { s3Config } from '../support/services/stores.ts'

const ORIGIN = 'https://app.example.test'

describe.skipIf(!(await haveServices()))('the check of a store', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  async function altered(alteration: Alteration) {
    const config = await s3Config()
    ends.push(() => removeBucket(config.bucket))
    const { endpoint, begun, stop } = await startAlteredStore(alteration)
    ends.push(stop)
    return { config: { ...config, endpoint, publicEndpoint: endpoint }, begun }
  }
  const found = async (alteration: Alteration) => {
    const { config, begun } = await altered(alteration)
    const findings = await checkStore(config, ORIGIN)
    expect(begun.size).toBeGreaterThan(1)
    expect(await leftIn(config.bucket, begun)).toEqual([])
    return Object.fromEntries(findings.map(({ what, found }) => [what, found]))
  }

  test('finds what MinIO enforces, and leaves nothing behind', async () => {
    expect(await found({})).toEqual({
      once: 'yes',
      checksum: 'yes',
      'half an object': 'refused',
      'half a part': 'refused',
      'copy over a link': 'taken',
      'unsigned headers': 'taken',
      DeleteObjects: 'yes',
      strangers: 'kept out',
      length: 'yes',
      type: 'yes',
      CORS: `${ORIGIN} allowed`,
      'listing order': 'bytes',
      'conditional complete': 'yes',
    })
  }, 30_000)

  test('finds what a worse store does not', async () => {
    const worse: Alteration = {
      answer(asked) {
        const { method, path } = asked
        if (method === 'OPTIONS') return { status: 403, body: '' }
        if (method === 'PUT' && /\/(longer|type)\?/.test(path)) return { status: 200, body: '' }
        return withoutDeleteObjects(asked)
      },
      fills: () => true,
    }
    expect(await found(worse)).toMatchObject({
      'half an object': 'kept',
      'half a part': 'unless-checked',
      DeleteObjects: 'no',
      strangers: 'let in',
      length: 'no',
      type: 'no',
      CORS: `${ORIGIN} not allowed`,
    })
  }, 30_000)

  test('is a command, which takes no bucket that is in use', async () => {
    const { config } = await altered({})
    const { accessKeyId = '', secretAccessKey = '' } = config.credentials ?? {}
    const { PATH = '', HOME = '' } = process.env
    const run = async () => {
      const command = [process.execPath, '--no-env-file', 'src/cli/store-check.ts', '--quick']
      const child = Bun.spawn([...command, `${config.endpoint}/${config.bucket}`], {
        cwd: repository,
        env: { PATH, HOME, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
        stdout: 'pipe',
        stderr: 'pipe',
      })
      const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
      return { code: await child.exited, out, err }
    }
    const { code, out } = await run()
    expect(out).toMatch(/^ {2}half a part {11}refused$/m)
    expect(code).toBe(0)
    const traits = { guardCopies: true, guards: [], storageClass: '', multiDelete: true, crc32: true }
    const enforces = { once: true, checksum: true, whole: true }
    const storage = createS3Storage(config, { ...traits, enforces, brokenParts: 'refused' })
    await storage.put('media/somebody/original.jpg', new Uint8Array(1), { contentType: 'image/jpeg' })
    storage.close()
    expect(await run()).toMatchObject({ code: 1, err: expect.stringContaining('name a bucket of its own') })
  }, 60_000)
})
