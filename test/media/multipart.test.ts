import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { partSizeOf, uppyPartSizeOf } from '../../src/media/uploads/part-size.ts'
import { MAX_PARTS, MIN_PART_BYTES } from '../../src/storage/multipart.ts'
import { arrived, callerOf, newCaller, newObject, service } from '../support/media/objects.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

const MiB = 1024 * 1024
const LARGEST = 5 * 1024 * 1024 * MiB

describe('the size of parts', () => {
  test('is one that S3 takes for a file of any size, in as many parts as it takes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.integer({ min: 1, max: LARGEST }), fc.constant(LARGEST)), (size) => {
        const partSize = partSizeOf(size)
        expect(partSize).toBeGreaterThanOrEqual(MIN_PART_BYTES)
        expect(partSize).toBeLessThanOrEqual(5 * 1024 * MiB)
        expect(Math.ceil(size / partSize)).toBeLessThanOrEqual(MAX_PARTS)
      }),
    )
  })

  test('grows with the file, from 8 MiB on', () => {
    const sizes = [1, 60 * MiB, 8000 * MiB, 8000 * MiB + 1, 100 * 1024 * MiB, LARGEST]
    expect(sizes.map((size) => partSizeOf(size) / MiB)).toEqual([8, 8, 8, 9, 103, 1024])
  })
})

describe("the size of Uppy's parts", () => {
  const theirs = (size: number, getChunkSize?: () => number) => {
    // As in `lib/S3Uploader.js` of `@uppy/aws-s3` 6.3.1.
    const chunkSize = Math.max(getChunkSize ? getChunkSize() : Math.ceil(size / MAX_PARTS), MIN_PART_BYTES)
    return Math.ceil(size / chunkSize) > MAX_PARTS ? Math.ceil(size / MAX_PARTS) : chunkSize
  }

  test('is what Uppy makes it, with the chunk size of the page and without', () => {
    const sizes = fc.oneof(fc.integer({ min: 1, max: LARGEST }), fc.constantFrom(5 * MiB, 50_000 * MiB, LARGEST))
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 5 * 1024 * MiB }), (size, asked) => {
        expect(uppyPartSizeOf(size)).toBe(theirs(size))
        expect(uppyPartSizeOf(size, asked)).toBe(theirs(size, () => asked))
      }),
    )
  })
})

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`multipart uploads in the repository on ${name}`, () => {
    let database: OpenDatabase
    let repository: Repository
    beforeAll(async () => {
      database = await open({ migrated: true })
      repository = createRepository({ sql: database.sql, pendingSeconds: 100, retentionSeconds: 1000 })
    }, 60_000)
    afterAll(() => database.close(), 30_000)

    const make = async (uploadId?: string) => {
      const object = newObject({ sizeBytes: 100 * MiB })
      await repository.uploads.insert(object)
      if (uploadId !== undefined) await repository.multipartUploads.keepUploadId(object.id, uploadId)
      return object
    }
    const linksUntil = async ({ id }: { id: string }): Promise<number> => {
      const [row] = await database.sql`SELECT extract(epoch FROM links_until - now())::float8 AS left
        FROM media_objects WHERE id = ${id}`
      return row?.left
    }

    test('the first upload id stays, and is what a second one gets', async () => {
      const object = await make()
      const [first, second] = [
        await repository.multipartUploads.keepUploadId(object.id, 'a'),
        await repository.multipartUploads.keepUploadId(object.id, 'b'),
      ]
      expect(first).toEqual({ uploadId: 'a', expiresAt: expect.any(Date) })
      expect(second).toEqual(first)
      expect(Math.abs((first?.expiresAt.getTime() ?? 0) - Date.now() - 100_000)).toBeLessThan(5000)
      expect((await repository.objects.findOwned(object.id, callerOf(object)))?.uploadId).toBe('a')
    })

    test('an object on its way out takes no upload id', async () => {
      const object = await make()
      await repository.uploads.abandon(object.id)
      expect(await repository.multipartUploads.keepUploadId(object.id, 'a')).toBeNull()
    })

    test('links lengthen the life of the row, never shorten it, and only for its owner', async () => {
      const object = await make('a')
      const upload = { key: object.key, uploadId: 'a', sizeBytes: 100 * MiB, partSize: null }
      expect(await repository.multipartUploads.extend(object.id, newCaller(), 9000)).toBeNull()
      expect(await linksUntil(object)).toBeLessThan(1000)
      expect(await repository.multipartUploads.extend(object.id, callerOf(object), 9000)).toEqual(upload)
      expect(await repository.multipartUploads.extend(object.id, service, 10)).toEqual(upload)
      expect(await linksUntil(object)).toBeGreaterThan(8900)
    })

    test('the first division into parts stays, and is what a second one gets', async () => {
      const object = await make('a')
      expect(await repository.multipartUploads.keepPartSize(object.id, 8 * MiB)).toEqual({ partSize: 8 * MiB })
      expect(await repository.multipartUploads.keepPartSize(object.id, 5 * MiB)).toEqual({ partSize: 8 * MiB })
      expect(await repository.multipartUploads.extend(object.id, callerOf(object), 10)).toMatchObject({
        partSize: 8 * MiB,
      })
      await repository.uploads.abandon(object.id)
      expect(await repository.multipartUploads.keepPartSize(object.id, 8 * MiB)).toBeNull()
    })

    test('there are links neither to an upload over one link, nor to one that is complete or given up', async () => {
      const [plain, complete, abandoned] = [await make(), await make('a'), await make('a')]
      await repository.uploads.activate(complete.id, arrived)
      await repository.uploads.abandon(abandoned.id)
      for (const object of [plain, complete, abandoned])
        expect(await repository.multipartUploads.extend(object.id, callerOf(object), 9000)).toBeNull()
    })

    test('only its owner gives an upload up, once, and only while it is under way', async () => {
      const [pending, complete] = [await make('a'), await make('a')]
      await repository.uploads.activate(complete.id, arrived)
      expect(await repository.uploads.abort(pending.id, newCaller())).toBeNull()
      expect(await repository.uploads.abort(complete.id, callerOf(complete))).toBeNull()
      expect(await repository.uploads.abort(pending.id, callerOf(pending))).toEqual({ key: pending.key })
      expect(await repository.uploads.abort(pending.id, callerOf(pending))).toBeNull()
      expect((await repository.objects.findOwned(pending.id, service))?.status).toBe('purging')
      expect((await repository.objects.findOwned(complete.id, service))?.status).toBe('active')
    })
  })
}
