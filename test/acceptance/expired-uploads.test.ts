import { afterAll, describe, expect, test } from 'bun:test'
import { answered, expectProblem, newUser, until } from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, partsClient, uploadsUnderWay } from '../support/http/parts.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

const PENDING_SECONDS = 4

const stage = await openStage({ PENDING_SECONDS: String(PENDING_SECONDS), UPLOAD_URL_SECONDS: '600' })
afterAll(stage.close)
const { begin, links, send } = partsClient(stage)

describe.skipIf(backend === 'embedded')('a multipart upload that nobody ends', () => {
  test('is given up by upkeep with its parts, though its links would still be good', async () => {
    const user = newUser()
    const bytes = await jpegOf(9 * MiB)
    const upload = await answered<Multipart>(200, await begin(user))
    await send(user, upload, bytes, [1])
    const { urls } = await links(user, upload.id, [2])
    expect(await uploadsUnderWay(stage.env.S3_BUCKET ?? '', upload.key)).toHaveLength(1)
    await until(async () => {
      expect((await stage.inside?.rowOf(upload.id))?.status).toBe('purging')
      expect(await uploadsUnderWay(stage.env.S3_BUCKET ?? '', upload.key)).toEqual([])
    }, 25_000)
    const late = await fetch(urls[0]?.url ?? '', { method: 'PUT', body: bytes.subarray(8 * MiB) })
    expect(late.status).toBe(404)
    await expectProblem(await stage.complete(user, upload.id), 404, 'not_found')
    // The row stays for as long as anyone could still put bytes there.
    expect((await stage.inside?.rowOf(upload.id))?.links_until.getTime()).toBeGreaterThan(Date.now() + 3_600_000)
  }, 40_000)
})
