import { afterAll, describe, expect, test } from 'bun:test'
import { answered, expectBytes, expectProblem, type MediaObject, newUser, until } from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, partsClient } from '../support/http/parts.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage } from '../support/process/acceptance.ts'

// Passes of upkeep are at most PENDING_SECONDS apart.
const stage = await openStage({ AUTO_COMPLETE_SECONDS: '1', PENDING_SECONDS: '6' })
afterAll(stage.close)
const { call, complete, get, presigned, put } = stage
const { begin, send } = partsClient(stage)

const rocket = await readCorpus('accept/rocket.jpg')
const declared = { filename: 'rocket.jpg', fileType: 'image/jpeg', size: rocket.length }

const seen = (user: string, id: string) =>
  until(async () => answered<MediaObject & { signedUrl: string }>(200, await get(user, id)), 30_000)

describe('an upload whose client has closed the page', () => {
  test('becomes an object when its bytes are in the store', async () => {
    const user = newUser()
    const link = await presigned(user, declared)
    expect((await put(link, rocket)).status).toBe(200)
    const object = await seen(user, link.id)
    expect(object).toMatchObject({ status: 'active', sizeBytes: rocket.length, metadata: { width: 640 } })
    expect(await answered<MediaObject>(200, await complete(user, link.id))).toMatchObject({ id: link.id })
    await expectBytes(await fetch(object.signedUrl), rocket)
    await expectProblem(await call(`/media/${link.id}/upload`, { as: user, method: 'DELETE' }), 409, 'state_conflict')
  }, 60_000)

  test.skipIf(backend === 'embedded')(
    'becomes an object when all of its parts are in the store',
    async () => {
      const user = newUser()
      const bytes = await jpegOf(9 * MiB)
      const upload = await answered<Multipart>(200, await begin(user, { size: bytes.length }))
      await send(user, upload, bytes)
      expect(await seen(user, upload.id)).toMatchObject({ status: 'active', sizeBytes: bytes.length })
    },
    60_000,
  )

  test('does not become one after the client has cancelled it', async () => {
    const user = newUser()
    const [cancelled, other] = [await presigned(user, declared), await presigned(user, declared)]
    for (const link of [cancelled, other]) expect((await put(link, rocket)).status).toBe(200)
    expect((await call(`/media/${cancelled.id}/upload`, { as: user, method: 'DELETE' })).status).toBe(204)
    await seen(user, other.id)
    await expectProblem(await get(user, cancelled.id), 404, 'not_found')
  }, 60_000)
})
