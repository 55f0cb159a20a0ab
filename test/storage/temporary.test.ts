import { afterAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { Upload } from '@tus/server'
import { createDiskStorage } from '../../src/storage/disk/storage.ts'
import { createDiskTusStores } from '../../src/storage/disk/tus.ts'
import { openTemporaryFiles } from '../../src/storage/temporary.ts'
import { refusal } from '../support/http/refusal.ts'
import { mountTmpfs } from '../support/process/tmpfs.ts'
import { createFolder } from '../support/services/folder.ts'
import { JPEG, newPrefix } from '../support/services/stores.ts'

const MiB = 1024 * 1024
const never = new AbortController().signal
const folder = await createFolder()
const small = await mountTmpfs(join(folder.path, 'small'), '4m,nr_inodes=60')
afterAll(async () => {
  await small?.remove()
  await folder.remove()
})

describe('temporary files', () => {
  test('have no name while they are there, so that a process that is killed leaves none', async () => {
    const own = join(folder.path, 'own')
    await Bun.$`mkdir ${own}`
    const files = await openTemporaryFiles(10 * MiB, own)
    const file = await files.create('a', 3 * MiB, never)
    const bytes = randomBytes(2 * MiB + 7)
    for (let at = 0; at < bytes.length; at += 60_000) await file.append(bytes.subarray(at, at + 60_000))
    expect(await readdir(own)).toEqual([])
    expect(file.size).toBe(bytes.length)
    expect((await buffer(file.read())).equals(bytes)).toBe(true)
    expect(files.usage()).toEqual({ reserved: 3 * MiB, waiting: 0 })
    await file.close()
    expect(files.usage()).toEqual({ reserved: 0, waiting: 0 })
  })

  test('wait for each other within the budget, and let nobody have all of it while others wait', async () => {
    const files = await openTemporaryFiles(4 * MiB, folder.path)
    const mine = [await files.create('a', MiB, never), await files.create('a', MiB, never)]
    const more = [files.create('a', MiB, never), files.create('a', MiB, never)]
    const late = files.create('a', MiB, never)
    const held = [...mine, ...(await Promise.all(more))]
    const other = files.create('b', MiB, never)
    expect(files.contended()).toBe(true)
    await held[0]?.close()
    // It came later, and gets it: the one before has more than half.
    const theirs = await other
    expect(files.usage()).toEqual({ reserved: 4 * MiB, waiting: 1 })
    await Promise.all([...held.slice(1), theirs].map((file) => file.close()))
    await (await late).close()
    expect(files.usage()).toEqual({ reserved: 0, waiting: 0 })
  })

  test('are waited for no longer than their request lasts', async () => {
    const files = await openTemporaryFiles(MiB, folder.path)
    const held = await files.create('a', MiB, never)
    const gone = new AbortController()
    const waiting = refusal(files.create('b', MiB, gone.signal))
    gone.abort(new Error('gone'))
    expect(await waiting).toMatchObject({ message: 'gone' })
    expect(files.usage()).toEqual({ reserved: MiB, waiting: 0 })
    await held.close()
  })

  test.skipIf(small === undefined)('take no more than there is, and are 503 where others have filled it', async () => {
    const { path } = small ?? expect.unreachable()
    const files = await openTemporaryFiles(64 * MiB, path)
    expect(files.limit).toBe(3.5 * MiB)
    const filler = join(path, 'filler')
    await Bun.write(filler, randomBytes(3.5 * MiB))
    const file = await files.create('a', 2 * MiB, never)
    expect(await refusal(file.append(randomBytes(2 * MiB)))).toMatchObject({ code: 'overloaded', kind: 'outage' })
    await file.close()
    await rm(filler)
    const again = await files.create('a', 2 * MiB, never)
    await again.append(randomBytes(2 * MiB))
    await again.close()
  })
})

describe.skipIf(small === undefined)('files on a disk that is full', () => {
  test('are an outage for every way in, and nothing of them stays', async () => {
    const { path } = small ?? expect.unreachable()
    const root = join(path, 'files')
    const linkSecrets = ['a secret that signs links in tests'] as const
    const settings = { root, linkSecrets, maxBytes: 64 * MiB, now: Date.now }
    const storage = await createDiskStorage(settings)
    const filler = join(path, 'filler')
    const key = `${newPrefix()}original.jpg`
    const bytes = randomBytes(3 * MiB)
    const outage = { code: 'storage_unavailable', kind: 'outage' }
    const records = {
      load: async () => ({ size: bytes.length, contentType: 'image/jpeg', uploadId: null, createdAt: new Date() }),
      keepUploadId: async () => true,
      declareSize: async () => true,
    }
    const tus = createDiskTusStores(storage).open({ records, signal: never, caller: 'a' })
    await Bun.write(filler, randomBytes(2 * MiB))
    expect(await refusal(storage.put(key, bytes, JPEG))).toMatchObject(outage)
    const granted = { size: undefined, sha256: undefined, disposition: undefined, cacheControl: undefined }
    const grant = { method: 'PUT', key, expires: Date.now(), contentType: 'image/jpeg', ...granted } as const
    expect(await refusal(storage.receive(grant, [bytes]))).toMatchObject(outage)
    expect(await storage.head(key)).toBeNull()
    expect(await readdir(join(root, 'incoming'))).toEqual([])
    await tus.create(new Upload({ id: key, size: bytes.length, offset: 0 }))
    expect(await refusal(tus.write(Readable.from([bytes]), key, 0))).toMatchObject(outage)
    await rm(filler)
    // Nor where there is room, but for no more files.
    const files = Array.from({ length: 60 }, (_, i) => join(path, `${i}`))
    await Promise.allSettled(files.map((file) => writeFile(file, '')))
    const other = new Upload({ id: `${newPrefix()}original.jpg`, size: bytes.length, offset: 0 })
    expect(await refusal(tus.create(other))).toMatchObject(outage)
    expect(await refusal(storage.put(key, new Uint8Array(1), JPEG))).toMatchObject(outage)
    await Promise.all(files.map((file) => rm(file, { force: true })))
    await storage.removePrefix(key.slice(0, key.lastIndexOf('/') + 1))
    await storage.put(key, bytes, JPEG)
    expect(await storage.head(key)).toMatchObject({ size: bytes.length })
  })
})
