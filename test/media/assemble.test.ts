import { describe, expect, test } from 'bun:test'
import type { MediaRow } from '../../src/media/object/object.ts'
import type { Repository } from '../../src/media/table/repository.ts'
import { assemble } from '../../src/media/uploads/assemble.ts'
import type { Completion, StoredPart } from '../../src/storage/multipart.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { newObject } from '../support/media/objects.ts'

const WHOLE: StoredPart[] = [{ partNumber: 1, size: 10, etag: '"1"' }]
const HEAD = { size: 10, contentType: 'image/jpeg', etag: '"1"', contentEncoding: null, ordinaryClass: true }

/** What the store shows, look by look; the last of each is shown from then on. */
type Shown = { parts: (StoredPart[] | null)[]; stored: boolean[]; completion?: Completion; links?: boolean }

/** The code of the problem that assembling ends with, or `stored`. */
async function outcome({ parts, stored, completion = 'stored', links = true }: Shown): Promise<string> {
  const next = <T>(all: T[]): T => {
    const [first, ...rest] = all
    if (first === undefined) throw new Error('nothing to show')
    if (rest.length > 0) all.shift()
    return first
  }
  const storage = {
    head: async () => (next(stored) ? HEAD : null),
    abortUploads: async () => {},
    multipart: { parts: async () => next(parts), complete: async () => completion, needsMd5: false },
  } as unknown as Storage
  const uploads = { extendLinks: async () => true, mayBeWritten: async () => links } as unknown as Repository['uploads']
  const row = { ...newObject({ sizeBytes: 10 }), uploadId: 'upload' } as unknown as MediaRow
  return assemble({ repository: { uploads }, storage }, row).then(
    () => 'stored',
    (error) => error.code,
  )
}

describe('a store between two states', () => {
  test('that takes the parts away before the object is there is looked at again', async () => {
    expect(await outcome({ parts: [null], stored: [false, false, false, true] })).toBe('stored')
    expect(await outcome({ parts: [WHOLE], stored: [false, false, true], completion: 'gone' })).toBe('stored')
    expect(await outcome({ parts: [WHOLE, null], stored: [false, false, false, true], completion: 'unfit' })).toBe(
      'stored',
    )
    expect(await outcome({ parts: [[], null], stored: [false, false, false, true] })).toBe('stored')
  })

  test('that says that a second completion was done, while the first goes on, is looked at again', async () => {
    expect(await outcome({ parts: [WHOLE], stored: [false, false, false, true] })).toBe('stored')
  })

  test('for longer is unavailable, and the upload not refused', async () => {
    expect(await outcome({ parts: [WHOLE], stored: [false] })).toBe('storage_unavailable')
    expect(await outcome({ parts: [WHOLE], stored: [false], completion: 'gone' })).toBe('storage_unavailable')
    expect(await outcome({ parts: [null], stored: [false] })).toBe('storage_unavailable')
    expect(await outcome({ parts: [WHOLE, null], stored: [false], completion: 'unfit' })).toBe('storage_unavailable')
  }, 20_000)
})

test('an upload that the store has not, when nobody can be writing it any more, has ended', async () => {
  expect(await outcome({ parts: [null], stored: [false], links: false })).toBe('upload_incomplete')
})

test('parts that do not fit, in two listings, are refused', async () => {
  const small = [{ partNumber: 1, size: 9, etag: '"1"' }]
  const large = [{ partNumber: 1, size: 11, etag: '"1"' }]
  expect(await outcome({ parts: [small], stored: [false] })).toBe('upload_incomplete')
  expect(await outcome({ parts: [large], stored: [false] })).toBe('size_mismatch')
  expect(await outcome({ parts: [WHOLE], stored: [false], completion: 'unfit' })).toBe('upload_incomplete')
})
