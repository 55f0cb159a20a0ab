import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { NewObject } from '../../src/media/object/new-object.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { createLeaseLocker, type UploadLeases } from '../../src/media/uploads/tus-locker.ts'
import { Problem } from '../../src/problem.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { newObject } from '../support/media/objects.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

const settings = { pendingSeconds: 100, retentionSeconds: 1000 }
const LOCKED = { code: 'upload_locked', kind: 'conflict' }

for (const { name, present, open } of databases) {
  // Side by side, since most of it is waiting for leases; each has an upload of its own.
  describe.skipIf(!present).concurrent(`the lock of a tus upload on ${name}`, () => {
    let database: OpenDatabase
    let repository: Repository
    beforeAll(async () => {
      database = await open({ migrated: true })
      repository = createRepository({ sql: database.sql, ...settings })
      // The first statement of its kind takes PGlite so long that a lease of a second could be over.
      const { key } = await begun()
      const [lease, other] = [crypto.randomUUID(), crypto.randomUUID()]
      await repository.tusUploads.takeLease(key, lease, { ask: false })
      await repository.tusUploads.takeLease(key, other, { ask: true })
      await repository.tusUploads.renewLease(key, lease)
      await repository.tusUploads.releaseLease(key, lease)
    }, 60_000)
    afterAll(() => database.close(), 30_000)
    const begun = async () => {
      const upload = newObject({ tusMetadata: '' })
      await repository.uploads.insert(upload)
      return upload
    }

    /** A replica of its own, with what happened to its locks. */
    const replicaFor =
      (upload: NewObject) =>
      ({ leaseMs = 1000, leases = leasesOf(repository), stopping = (): boolean => false } = {}) => {
        const { log } = createRecordingLog()
        const locker = createLeaseLocker({ leases, log, leaseMs, stopping })
        return {
          async lock(options: { ask?: boolean; signal?: AbortSignal } = {}) {
            const seen = { asked: 0, lost: 0 }
            const onLost = () => {
              seen.lost += 1
            }
            const lock = locker({ ask: options.ask ?? false, onLost }).newLock(upload.key)
            await lock.lock(options.signal ?? new AbortController().signal, () => {
              seen.asked += 1
            })
            return { seen, unlock: () => lock.unlock() }
          },
        }
      }
    const age = ({ id }: NewObject, seconds: number) => database.sql`
      UPDATE media_objects SET upload_lease_until = upload_lease_until - ${seconds} * interval '1 second'
      WHERE id = ${id}`
    const rowOf = async ({ id }: NewObject) => (await database.sql`SELECT * FROM media_objects WHERE id = ${id}`)[0]

    test('is one request at a time, whichever replica it came to', async () => {
      const replica = replicaFor(await begun())
      const first = await replica().lock()
      expect(await refusal(replica().lock())).toMatchObject(LOCKED)
      expect(first.seen).toEqual({ asked: 0, lost: 0 })
      await first.unlock()
      const second = await replica().lock()
      await second.unlock()
    })

    test('that many ask for at the same time is one of theirs', async () => {
      const replica = replicaFor(await begun())
      const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => replica().lock()))
      const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
      expect(won).toHaveLength(1)
      await won[0]?.unlock()
    })

    test('is given up by a holder that hears that someone waits', async () => {
      const replica = replicaFor(await begun())
      const first = await replica().lock()
      const waiting = replica().lock({ ask: true })
      await until(() => first.seen.asked > 0)
      await first.unlock()
      const second = await waiting
      expect(first.seen.lost).toBe(0)
      await second.unlock()
    })

    test('is kept for as long as it is held, and the row outlives what its holder may still write', async () => {
      const upload = await begun()
      const replica = replicaFor(upload)
      const first = await replica().lock()
      await Bun.sleep(1500)
      expect(await refusal(replica().lock())).toMatchObject(LOCKED)
      expect(first.seen).toEqual({ asked: 0, lost: 0 })
      const { links_until, upload_lease_until, sweep_due_at } = (await rowOf(upload)) ?? {}
      expect(links_until.getTime() - upload_lease_until.getTime()).toBe(3600_000)
      // What is due is never put off: the sweep that the first lease asked for finds that writing may go on.
      expect(sweep_due_at.getTime()).toBeLessThanOrEqual(links_until.getTime())
      await first.unlock()
    })

    test('is free when the lease of a dead holder is over', async () => {
      const upload = await begun()
      const replica = replicaFor(upload)
      const dead = await replica({ leases: { ...leasesOf(repository), renew: () => new Promise(() => {}) } }).lock()
      expect(await refusal(replica().lock())).toMatchObject(LOCKED)
      await age(upload, 20)
      const next = await replica().lock()
      await dead.unlock()
      expect(await refusal(replica().lock())).toMatchObject(LOCKED)
      await next.unlock()
    })

    test('is lost by a holder that cannot renew it, before anyone else can have it', async () => {
      const upload = await begun()
      const replica = replicaFor(upload)
      const renew = async () => {
        throw new Problem('database_unavailable', 'gone')
      }
      const first = await replica({ leaseMs: 3000, leases: { ...leasesOf(repository), renew } }).lock()
      await Bun.sleep(1800)
      expect(first.seen.lost).toBe(0)
      await until(() => first.seen.lost === 1)
      expect(((await rowOf(upload))?.upload_lease_until.getTime() ?? 0) > Date.now()).toBe(true)
      await first.unlock()
    })

    test('is lost by a holder whose upload was ended', async () => {
      const upload = await begun()
      const replica = replicaFor(upload)
      const first = await replica().lock()
      await repository.uploads.abandon(upload.id)
      await until(() => first.seen.lost === 1)
      await first.unlock()
      expect(await refusal(replica().lock())).toMatchObject({ code: 'not_found', kind: 'absent' })
    })

    test('is given up by a process that is told to stop', async () => {
      const replica = replicaFor(await begun())
      let stopping = false
      const first = await replica({ stopping: () => stopping }).lock()
      stopping = true
      await until(() => first.seen.asked > 0)
      await first.unlock()
    })

    test('is not waited for by a request that is over', async () => {
      const replica = replicaFor(await begun())
      const first = await replica().lock()
      const start = performance.now()
      expect(await refusal(replica().lock({ ask: true, signal: AbortSignal.abort() }))).toMatchObject(LOCKED)
      expect(performance.now() - start).toBeLessThan(1000)
      await first.unlock()
    })

    test('that cannot be given back does no harm: it runs out', async () => {
      const upload = await begun()
      const replica = replicaFor(upload)
      const release = async () => {
        throw new Problem('database_unavailable', 'gone')
      }
      const first = await replica({ leases: { ...leasesOf(repository), release } }).lock()
      await first.unlock()
      await age(upload, 20)
      await (await replica().lock()).unlock()
    })
  })
}

function leasesOf(repository: Repository): UploadLeases {
  return {
    take: repository.tusUploads.takeLease,
    renew: repository.tusUploads.renewLease,
    release: repository.tusUploads.releaseLease,
  }
}
