/**
 * Ends what nobody else will: uploads that never came, objects whose time in the bin is over, bytes without a row.
 * Runs in every replica; what one has claimed the others leave alone for a while.
 */
import type { Log } from '../log.ts'
import { MAX_DECODED_BYTES } from '../pictures/limits.ts'
import { Problem } from '../problem.ts'
import type { Storage } from '../storage/storage.ts'
import { createMoves } from './moves.ts'
import { type Home, homes, prefixesOf, type StoredObject } from './object.ts'
import type { MakePlaceholder } from './placeholder.ts'
import type { PlaceholderRow } from './placeholder-statements.ts'
import type { Publicity } from './publicity.ts'
import type { Publish } from './publish.ts'
import type { Relay } from './relay.ts'
import { removeBytes } from './removal.ts'
import type { Repository } from './repository.ts'
import { MOVE_GRACE_SECONDS, type PurgingRow, type SweepRow } from './upkeep-statements.ts'

/** What one pass did. `failed` names the steps that could not be finished; the next pass takes them up again. */
export type UpkeepReport = {
  /** Uploads given up. */
  expired: number
  /** Deleted objects whose retention time is over. */
  retired: number
  /** Objects whose bytes were removed, for now or for good. */
  emptied: number
  /** Rows that are gone for good. */
  forgotten: number
  /** Stored bytes that no row knew, removed. */
  orphans: number
  /** Pictures that have a placeholder since. */
  placeholders: number
  /** Public objects that a CDN has since. */
  published: number
  failed: string[]
}

export type Upkeep = {
  /** One pass over everything that is due. Never throws. */
  run(): Promise<UpkeepReport>
  /** Repeats `run` until `stop`, and tells what each one did. */
  start(told?: (report: UpkeepReport) => void): void
  /** Resolves when no pass is running any more. */
  stop(): Promise<void>
}

type Deps = {
  repository: Repository
  storage: Storage
  relay: Relay
  makePlaceholder: MakePlaceholder
  publicity: Publicity
  publish: Publish
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  pendingSeconds: number
}

const BATCH_ROWS = 100
const PURGE_ROWS = 20
const LISTED_KEYS = 1000
// What nobody waits for is done for this long in a pass, and so many times.
const IDLE_MS = 15_000
const IDLE_TIMES = 100
const LONGEST_PAUSE_SECONDS = 60

export function createUpkeep(deps: Deps): Upkeep {
  const { repository, storage, relay, makePlaceholder, publicity, publish, log, now, pendingSeconds } = deps
  const moves = createMoves(deps)

  async function expire(report: UpkeepReport): Promise<void> {
    for (;;) {
      const count = await repository.expire(BATCH_ROWS)
      report.expired += count
      if (count < BATCH_ROWS) return
    }
  }

  async function retire(report: UpkeepReport): Promise<void> {
    for (;;) {
      const rows = await repository.retire(BATCH_ROWS)
      report.retired += rows.length
      // Owed on the rows in any case, which stay until it is sent.
      await relay.send(rows).catch((error) => log.warn({ err: error }, 'upkeep: events not sent, they stay owed'))
      if (rows.length < BATCH_ROWS) return
    }
  }

  async function purge(report: UpkeepReport): Promise<void> {
    for (;;) {
      const rows = await repository.claimPurging(PURGE_ROWS)
      const outcomes = await Promise.allSettled(rows.map((row) => purgeOne(row, report)))
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed) throw failed.reason
      if (rows.length < PURGE_ROWS) return
    }
  }

  /** The bytes go before the row does: a row may lack its bytes here, but no bytes their row. */
  async function purgeOne({ id, key, linksDead }: PurgingRow, report: UpkeepReport): Promise<void> {
    await removeBytes(storage, { id, key })
    report.emptied += 1
    if (!linksDead) await repository.postpone(id)
    else if (await repository.forget(id)) report.forgotten += 1
  }

  /**
   * Compares a listing of the store, which is in order of time, with the table: from where the last pass came to, up
   * to PENDING_SECONDS ago, for a younger object's row may still be on its way. An older id is refused as a row, so
   * bytes found without one stay without one.
   */
  async function removeOrphans(report: UpkeepReport): Promise<void> {
    for (const home of homes) await removeOrphansIn(home, report)
  }

  async function removeOrphansIn(home: Home, report: UpkeepReport): Promise<void> {
    const search = await repository.takeOrphanSearch(home)
    if (search === null) return
    const old = now() - pendingSeconds * 1000
    const end = firstKeyAt(home, old)
    let { position } = search
    for (let startAfter = position; ; ) {
      const listed = await storage.list({ prefix: home, startAfter, limit: LISTED_KEYS })
      const due = listed.filter(({ key }) => key < end)
      const known = await repository.knownKeys(due.map(({ key }) => key))
      const orphans = due.filter(({ key }) => !known.has(key))
      const removable = orphans.filter(({ lastModified }) => lastModified.getTime() < old).map(({ key }) => key)
      if (removable.length > 0) await storage.remove(removable)
      report.orphans += removable.length
      // Bytes that came late are left until they are old, too: the search must not pass them.
      const young = orphans.find(({ lastModified }) => lastModified.getTime() >= old)
      position = keyBefore(due, young?.key) ?? position
      const done = young !== undefined || due.length < LISTED_KEYS
      await repository.moveOrphanSearch(home, position, { done })
      if (done) return
      startAfter = position
    }
  }

  /** Bytes below an object's prefixes that are not the object's: what a move or a late writer left there. */
  async function sweep(report: UpkeepReport): Promise<void> {
    for (;;) {
      const rows = await repository.claimSweeps(PURGE_ROWS)
      for (const row of rows) await sweepOne(row, report)
      if (rows.length < PURGE_ROWS) return
    }
  }

  async function sweepOne({ id, keys, claim }: SweepRow, report: UpkeepReport): Promise<void> {
    const old = now() - MOVE_GRACE_SECONDS * 1000
    let young = false
    for (const prefix of prefixesOf(id)) {
      const listed = await storage.list({ prefix, limit: LISTED_KEYS })
      const others = listed.filter(({ key }) => !keys.includes(key))
      const removable = others.filter(({ lastModified }) => lastModified.getTime() < old)
      if (removable.length > 0) await storage.remove(removable.map(({ key }) => key))
      report.orphans += removable.length
      // Perhaps the object's own in a moment: a move copies first, and then tells the row.
      young ||= removable.length < others.length
    }
    await repository.endSweep(id, claim, young ? MOVE_GRACE_SECONDS : null)
  }

  /** One at a time and for a while only, until there is nothing to do. */
  async function inIdleTime(doOne: () => Promise<boolean>): Promise<void> {
    const end = now() + IDLE_MS
    for (let i = 0; i < IDLE_TIMES && now() < end && !stopped; i += 1) if (!(await doOne())) return
  }

  async function makePlaceholders(report: UpkeepReport): Promise<void> {
    await inIdleTime(async () => {
      const row = await repository.claimPlaceholder()
      if (row !== null && (await makeOnePlaceholder(row))) report.placeholders += 1
      return row !== null
    })
  }

  async function makeOnePlaceholder({ id, key, mimeType, sizeBytes }: PlaceholderRow): Promise<boolean> {
    const bytes = sizeBytes > MAX_DECODED_BYTES ? null : await storage.read(key, { start: 0, length: sizeBytes })
    const placeholder = bytes && (await makePlaceholder(bytes, mimeType))
    await repository.keepPlaceholder(id, placeholder)
    return placeholder !== null
  }

  /** Public objects get to the CDN. */
  async function publishAll(report: UpkeepReport): Promise<void> {
    if (!publicity.hasCdn) return
    await inIdleTime(async () => {
      const row = await repository.claimPublication()
      if (row !== null && (await publishOne(row))) report.published += 1
      return row !== null
    })
  }

  async function publishOne(row: StoredObject): Promise<boolean> {
    try {
      await publish(row)
      return true
    } catch (error) {
      // It can't be, which `publish` has noted; or it is not public any more.
      if (error instanceof Problem && (error.status === 422 || error.code === 'not_found')) return false
      throw error
    }
  }

  /** Originals that an earlier version moved to where a CDN serves them come back. */
  async function recallOriginals(): Promise<void> {
    for (let after = ''; !stopped; ) {
      const rows = await repository.exposedAfter(after, PURGE_ROWS)
      for (const row of rows) await recallOne(row)
      const last = rows.at(-1)
      if (last === undefined) return
      after = last.key
    }
  }

  async function recallOne(row: StoredObject): Promise<void> {
    const stored = await storage.head(row.key)
    if (stored === null) return
    const to = await moves.copy(row, 'media/', stored.etag)
    await moves.remove((await repository.recall(row, to)) ? row.key : to)
  }

  /** What others got as it came is taken from them, after PUBLIC_ORIGINALS was turned off. */
  async function withdrawUncleaned(): Promise<void> {
    if (publicity.publicOriginals) return
    for (;;) {
      const keys = await repository.withdrawUncleaned(BATCH_ROWS)
      for (const key of keys) await moves.remove(key)
      if (keys.length < BATCH_ROWS) return
    }
  }

  const steps = {
    expire,
    retire,
    purge,
    removeOrphans,
    sweep,
    recallOriginals,
    withdrawUncleaned,
    publishAll,
    makePlaceholders,
  }

  async function run(): Promise<UpkeepReport> {
    const counts = { expired: 0, retired: 0, emptied: 0, forgotten: 0, orphans: 0, placeholders: 0, published: 0 }
    const report: UpkeepReport = { ...counts, failed: [] }
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step(report)
      } catch (error) {
        report.failed.push(name)
        log.warn({ err: error, step: name }, 'upkeep: not finished, trying again with the next pass')
      }
    }
    return report
  }

  let running: Promise<void> | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopped = false

  /** Spread over time, so that replicas which started together do not keep meeting. */
  function schedule(told: (report: UpkeepReport) => void): void {
    if (stopped) return
    const seconds = Math.min(LONGEST_PAUSE_SECONDS, pendingSeconds) * (0.75 + Math.random() / 2)
    timer = setTimeout(() => {
      running = run().then((report) => {
        told(report)
        const { failed, ...counts } = report
        if (Object.values(counts).some((count) => count > 0)) log.info({ ...counts, failed }, 'upkeep: done')
        schedule(told)
      })
    }, seconds * 1000)
  }

  return {
    run,
    start: (told = () => {}) => schedule(told),
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}

/** The smallest key of an object made at a time or later: UUID version 7 begins with it in milliseconds (RFC 9562). */
function firstKeyAt(home: Home, time: number): string {
  const hex = Math.max(0, time).toString(16).padStart(12, '0')
  return `${home}${hex.slice(0, 8)}-${hex.slice(8)}`
}

/** The last listed key, or the one before `stop`; undefined where there is none. */
function keyBefore(listed: readonly { key: string }[], stop: string | undefined): string | undefined {
  const end = stop === undefined ? listed.length : listed.findIndex(({ key }) => key === stop)
  return listed[end - 1]?.key
}
