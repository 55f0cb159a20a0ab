import { afterAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { answered, expectProblem, type MediaObject, newUser, until } from '../support/http/client.ts'
import { jpegOf, MiB } from '../support/http/parts.ts'
import { slowPatch, tusCalls, untilTaken } from '../support/http/tus-client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, createDataDir, openStage, type Stage } from '../support/process/acceptance.ts'
import { mountTmpfs, type SmallFolder } from '../support/process/tmpfs.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

/** As compose gives it to each replica: in memory. */
const TMPFS = '64m'

let folder: Folder | undefined
let small: SmallFolder | undefined
let stage: Stage | undefined
if (backend === 'real') {
  folder = await createFolder()
  small = await mountTmpfs(join(folder.path, 'tmp'), TMPFS)
  if (small) stage = await openStage({ TMPDIR: small.path })
} else {
  folder = await createDataDir()
  small = await mountTmpfs(join(folder.path, 'files'), '24m')
  if (small) stage = await openStage({ DATA_DIR: folder.path })
}
afterAll(async () => {
  try {
    await stage?.close()
  } finally {
    await small?.remove()
    await folder?.remove()
  }
}, 30_000)
const opened = () => ({ stage: stage ?? expect.unreachable(), path: small?.path ?? '' })

describe.skipIf(stage === undefined || backend !== 'real')('the temporary folder of compose', () => {
  test('holds nine tus uploads at once: those that stand still make room for the others, and nobody gets 500', async () => {
    const { stage, path } = opened()
    const { begun, offsetOf, send } = tusCalls(stage)
    const uploads = await Promise.all(
      Array.from({ length: 9 }, async () => {
        const [user, bytes] = [newUser(), await jpegOf(9 * MiB)]
        return { user, bytes, at: await begun(user, bytes.length) }
      }),
    )
    // 7.5 MiB of each: more than fits. Some wait, so that others, which stand still, are ended with what they have.
    let ended = 0
    const patches = await Promise.all(
      uploads.map(async ({ user, bytes, at }) => {
        const patch = await slowPatch(stage.baseUrl + at, user, { offset: 0, length: bytes.length })
        void patch.send(bytes.subarray(0, 7.5 * MiB))
        const answered = patch.answered.finally(() => (ended += 1))
        return { ...patch, answered, rest: bytes.subarray(7.5 * MiB) }
      }),
    )
    await until(() => expect(ended).toBeGreaterThan(1), 60_000)
    const answers = await Promise.all(
      patches.map(async ({ answered, send, rest, end, destroy }) => {
        void send(rest)
        end()
        const answer = await answered
        destroy()
        return answer
      }),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 204))
    for (const { user, bytes, at } of uploads) {
      const offset = await offsetOf(user, at)
      if (offset < bytes.length) expect((await send(user, at, offset, bytes.subarray(offset))).status).toBe(204)
      const id = at.slice(at.lastIndexOf('/') + 1)
      expect(await answered<MediaObject>(200, await stage.get(user, id))).toMatchObject({ sizeBytes: bytes.length })
    }
    expect((await readdir(path)).filter((name) => name.startsWith('media-service'))).toEqual([])
  }, 120_000)

  test('that others have filled is 503, and the upload goes on when there is room', async () => {
    const { stage, path } = opened()
    const { begun, offsetOf, send } = tusCalls(stage)
    const [user, bytes] = [newUser(), await jpegOf(9 * MiB)]
    const at = await begun(user, bytes.length)
    const filler = join(path, 'filler')
    await Bun.write(filler, randomBytes(60 * MiB))
    await expectProblem(await send(user, at, 0, bytes), 503, 'overloaded')
    await rm(filler)
    const offset = await offsetOf(user, at)
    expect((await send(user, at, offset, bytes.subarray(offset))).status).toBe(204)
  }, 60_000)

  test('has nothing of a process that was killed', async () => {
    const { path } = opened()
    const user = newUser()
    const own = await openStage({ TMPDIR: path })
    const other = tusCalls(own)
    const at = await other.begun(user, 9 * MiB)
    const patch = await slowPatch(own.baseUrl + at, user, { offset: 0, length: 9 * MiB })
    patch.answered.catch(() => {})
    void patch.send(await jpegOf(7.5 * MiB))
    await untilTaken(own.baseUrl + at, user)
    await own.service.kill()
    patch.destroy()
    expect((await readdir(path)).filter((name) => name.startsWith('media-service'))).toEqual([])
    const { bsize, blocks, bfree } = await statfs(path)
    expect((blocks - bfree) * bsize).toBeLessThan(4 * MiB)
    await own.close()
  }, 60_000)
})

describe.skipIf(stage === undefined || backend !== 'embedded')('a disk that is full', () => {
  test('is 503 for every way in, and nothing is lost when there is room again', async () => {
    const { stage, path } = opened()
    const { begun, offsetOf, send } = tusCalls(stage)
    const [user, rocket, bytes] = [newUser(), await readCorpus('accept/rocket.jpg'), await jpegOf(9 * MiB)]
    const link = await stage.presigned(user, { size: rocket.length })
    const at = await begun(user, bytes.length)
    const filler = join(path, 'filler')
    await Bun.write(filler, randomBytes(24 * MiB)).catch(() => {})
    await expectProblem(await stage.upload(user, rocket), 503, 'storage_unavailable')
    await expectProblem(await stage.put(link, rocket), 503, 'storage_unavailable')
    await expectProblem(await send(user, at, 0, bytes), 503, 'storage_unavailable')
    await rm(filler)
    expect((await stage.upload(user, rocket)).status).toBe(201)
    expect((await stage.put(link, rocket)).status).toBe(200)
    expect((await stage.complete(user, link.id)).status).toBe(200)
    const offset = await offsetOf(user, at)
    expect((await send(user, at, offset, bytes.subarray(offset))).status).toBe(204)
  }, 60_000)
})
