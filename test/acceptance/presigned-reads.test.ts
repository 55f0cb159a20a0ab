import { afterAll, describe, expect, test } from 'bun:test'
import { answered, type MediaObject, newUser } from '../support/http/client.ts'
import { jpegOf, MiB } from '../support/http/parts.ts'
import { backend, openStage } from '../support/process/acceptance.ts'
import { startProxy } from '../support/process/proxy.ts'
import { services } from '../support/services/shared.ts'

const SIZE = 30_000_000
// The proxy counts what comes over TCP: the heads of the store's answers as well, some 1,250 bytes of two.
const HEADS = 4096

describe.skipIf(backend === 'embedded')('complete of a presigned upload', async () => {
  if (backend === 'embedded') return
  const { endpoint } = (await services()).s3
  const store = await startProxy(endpoint)
  const { presigned, put, complete, close } = await openStage({
    S3_ENDPOINT: store.url,
    S3_PUBLIC_ENDPOINT: endpoint,
  })
  afterAll(async () => {
    await close()
    await store.close()
  })

  test('reads at most 1 MiB of a JPEG of 30 MB from the store', async () => {
    const user = newUser()
    const bytes = await jpegOf(SIZE)
    const link = await presigned(user, { size: SIZE })
    expect((await put(link, bytes)).status).toBe(200)
    const before = store.answered()
    const object = await answered<MediaObject>(200, await complete(user, link.id))
    const read = store.answered() - before
    expect(object).toMatchObject({ sizeBytes: SIZE, metadata: { width: 640, height: 427 } })
    // It does read the picture there: a count of nothing would prove nothing.
    expect(read).toBeGreaterThan(0)
    expect(read).toBeLessThanOrEqual(MiB + HEADS)
  })
})
