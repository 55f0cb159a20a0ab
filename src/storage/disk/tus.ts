/** tus uploads on disk: `@tus/file-store` in a folder beside the objects, with its metadata on the database row. */
import { rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { FileStore } from '@tus/file-store'
import { ERRORS, type KvStore, Upload } from '@tus/server'
import { notFound } from '../../problem.ts'
import { reached, type TusStore, type TusStores, type UploadRecords } from '../tus.ts'
import { unavailable } from '../unavailable.ts'
import { ifMissing } from './files.ts'
import type { DiskStorage } from './storage.ts'

type Disk = Pick<DiskStorage, 'adopt' | 'head' | 'uploads'>

export function createDiskTusStores(disk: Disk): TusStores {
  return {
    open: ({ records }) => new ArrivingFiles(disk, records),
    async hasAll(key, { size }) {
      const file = await stat(join(disk.uploads, key)).catch(ifMissing)
      return file && file.size === size
    },
    available: true,
    contended: () => false,
    room: () => NO_ROOM,
    close() {},
  }
}

// Bytes are written to their final file system, so no temporary room is needed.
const NO_ROOM = { limit: 0, reserved: 0, waiting: 0 }

class ArrivingFiles extends FileStore implements TusStore {
  private readonly disk: Disk
  private readonly records: UploadRecords

  constructor(disk: Disk, records: UploadRecords) {
    super({ directory: disk.uploads, configstore: onTheRow(records) })
    this.disk = disk
    this.records = records
  }

  override create(upload: Upload): Promise<Upload> {
    return reached(() => super.create(upload))
  }

  /** An upload whose bytes have already become an object is reported as complete. */
  override getUpload(id: string): Promise<Upload> {
    return reached(async () => {
      try {
        return await super.getUpload(id)
      } catch (error) {
        const stored = error === ERRORS.FILE_NO_LONGER_EXISTS ? await this.disk.head(id) : null
        if (stored === null) throw error
        return new Upload({ id, size: stored.size, offset: stored.size })
      }
    })
  }

  override async write(source: Readable, id: string, offset: number): Promise<number> {
    const newOffset = await super.write(source, id, offset).catch((cause) => {
      // The store's own error hides the cause, and its status keeps clients from retrying.
      throw unavailable(cause)
    })
    if (newOffset === (await this.records.load(id))?.size) await this.assemble(id)
    return newOffset
  }

  assemble(id: string): Promise<void> {
    return reached(async () => {
      const record = await this.records.load(id)
      const path = join(this.directory, id)
      if (record === null || (await stat(path).catch(ifMissing)) === null) throw notFound()
      await this.disk.adopt(path, id, record.contentType)
      await rm(dirname(path), { recursive: true, force: true })
    })
  }
}

/** Keeps upload metadata on the row, instead of in the store's JSON file beside each upload. */
function onTheRow(records: UploadRecords): KvStore<Upload> {
  return {
    async get(id) {
      const record = await records.load(id)
      if (record === null) return undefined
      const { size, createdAt } = record
      return new Upload({
        id,
        offset: 0,
        creation_date: createdAt.toISOString(),
        ...(size !== null && { size }),
      })
    },
    async set(id, { size }) {
      const before = await records.load(id)
      if (size === undefined || before?.size === size) return
      if (!(await records.declareSize(id, size))) throw ERRORS.INVALID_LENGTH
    },
    async delete() {},
  }
}
