/** A step of an upkeep pass: what it is given, and what it reports. */
import type { Log } from '../../log.ts'
import type { Storage } from '../../storage/storage.ts'
import type { Decode } from '../decoding/decode.ts'
import type { Relay } from '../outbox/relay.ts'
import type { Publicity } from '../public-copies/address.ts'
import type { Publish } from '../public-copies/publish.ts'
import type { Repository } from '../table/repository.ts'

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
  /** Keys removed that no row knew, or that were not their objects' (any more). */
  orphans: number
  /** Pictures that have a placeholder since. */
  placeholders: number
  /** Public objects that a CDN has since. */
  published: number
  /** Rows whose JSON an earlier version stored encoded twice, mended. */
  mended: number
  failed: string[]
}

export type UpkeepDeps = {
  repository: Repository
  storage: Storage
  relay: Relay
  decode: Decode
  publicity: Publicity
  publish: Publish
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  /** The pause between two passes is at most this long. */
  pendingSeconds: number
  /** Whether the process is about to end: what can wait is left to another pass. */
  stopping: () => boolean
}

/** Adds to the report what it did. Throws when it could not be finished, after everything that could be done. */
export type Step = (deps: UpkeepDeps, report: UpkeepReport) => Promise<void>

export const BATCH_ROWS = 100
export const PURGE_ROWS = 20
export const LISTED_KEYS = 1000
/** How long one row may take, in milliseconds; the next pass goes on with it. Shorter than the claim on it. */
export const ROW_MS = 30_000
