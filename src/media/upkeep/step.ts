/** A step of an upkeep pass: its dependencies and its report. */
import type { Log } from '../../log.ts'
import type { Storage } from '../../storage/storage.ts'
import type { Decode } from '../decoding/decode.ts'
import type { Relay } from '../outbox/relay.ts'
import type { PublicAccess } from '../public-copies/access.ts'
import type { MakePublicCopy } from '../public-copies/make.ts'
import type { ArrivingRow } from '../table/arrivals.ts'
import type { Repository } from '../table/repository.ts'

/** The report of one pass. `failed` names the steps that did not finish; the next pass tries them again. */
export type UpkeepReport = {
  /** Uploads completed without a call of their client. */
  completed: number
  /** Uploads that expired. */
  expired: number
  /** Held objects that nobody claimed in time. */
  unclaimed: number
  /** Soft-deleted objects whose retention time has ended. */
  retired: number
  /** Objects whose bytes were removed, for now or for good. */
  emptied: number
  /** Rows deleted at the end of purging. */
  forgotten: number
  /** Keys removed that no row knew, or that were not (or no longer) their objects' own. */
  orphans: number
  /** Pictures that got a placeholder. */
  placeholders: number
  /** Public objects that were copied to the CDN; the name is that of the metric. */
  published: number
  /** Repaired rows whose JSON an earlier version stored encoded twice. */
  mended: number
  failed: string[]
}

/** `Group`: the groups of statements that a step needs. */
export type UpkeepDeps<Group extends keyof Repository> = {
  repository: Pick<Repository, Group>
  storage: Storage
  relay: Relay
  decode: Decode
  publicAccess: PublicAccess
  makePublicCopy: MakePublicCopy
  /** `Uploads.completeArrived`. */
  completeArrived: (row: ArrivingRow) => Promise<'completed' | 'incomplete'>
  /** Whether uploads are completed without a call of their client. */
  autoComplete: boolean
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  /** The pause between two passes is at most this long. */
  pendingSeconds: number
  /** Whether the process is stopping: work that can wait is left to another pass. */
  stopping: () => boolean
}

/**
 * Adds its counts to the report.
 * @throws when it did not finish, after doing everything that it could
 */
export type Step<Group extends keyof Repository> = (deps: UpkeepDeps<Group>, report: UpkeepReport) => Promise<void>

export const BATCH_ROWS = 100
export const PURGE_ROWS = 20
export const LISTED_KEYS = 1000
/** How long one row may take, in milliseconds; the next pass continues it. Shorter than the claim on it. */
export const ROW_MS = 30_000
