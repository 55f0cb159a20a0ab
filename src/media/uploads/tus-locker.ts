/**
 * Leases on upload rows: one writer per tus upload across replicas. The writer renews its lease while its request runs.
 * A lease holds no connection, so it works behind PgBouncer in transaction mode.
 * A writer that cannot renew in time stops before its lease expires. Others wait for a dead writer no longer than its
 * lease lasts.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../log.ts'
import { notFound, Problem } from '../../problem.ts'
import type { LeaseOutcome } from '../table/tus.ts'

/** The SQL of leases; each may throw Problem `database_unavailable`. */
export type UploadLeases = {
  take(key: string, lease: string, options: { ask: boolean }): Promise<LeaseOutcome>
  renew(key: string, lease: string): Promise<{ wanted: boolean } | null>
  release(key: string, lease: string): Promise<void>
}

/** As `@tus/server` wants them. `cancel`: asks the holder to stop. */
type Lock = { lock(signal: AbortSignal, cancel: () => void): Promise<void>; unlock(): Promise<void> }
type Locker = { newLock(key: string): Lock }

export type LeaseLocker = (request: {
  /**
   * Whether to ask the current holder to stop. A client that asks for the offset, or aborts the upload, has lost the
   * connection of its previous request, even if this side has not noticed.
   */
  ask: boolean
  /** How long to wait for a holder that is not asked to stop, in milliseconds; default: PATIENCE_MS. */
  patienceMs?: number
  /** Called when the lock is lost or could not be renewed in time: the writer must stop writing. */
  onLost: () => void
}) => Locker

type Deps = {
  leases: UploadLeases
  log: Log
  /** Lifetime of a lease without renewal. */
  leaseMs: number
  /** Whether the process is shutting down: writers then stop, so that another replica can continue at once. */
  stopping: () => boolean
}

// Also bounds how long a holder takes to learn that another request waits.
const RENEWALS_PER_LEASE = 5
const POLL_MS = 200
// A second PATCH comes from a client that is wrong about its first; it has to ask for the offset before it goes on.
const PATIENCE_MS = 1500

/**
 * `lock` throws Problem `upload_locked` when another request holds the upload and keeps it, and `not_found` when the
 * upload is not pending.
 */
export function createLeaseLocker(deps: Deps): LeaseLocker {
  const { leases, log, leaseMs } = deps

  /**
   * Resolves with the time before the statement that took the lease, so that no holder trusts it longer than the row
   * does.
   */
  async function take(key: string, lease: string, asked: Asked, signal: AbortSignal): Promise<number> {
    const { ask, patienceMs = PATIENCE_MS } = asked
    // Long enough for the lease of a dead holder to expire.
    const patience = ask ? leaseMs + patienceMs : patienceMs
    for (const start = performance.now(); ; ) {
      const from = performance.now()
      const outcome = await leases.take(key, lease, { ask })
      if (outcome === 'taken') return from
      if (outcome === 'gone') throw notFound()
      if (signal.aborted || from - start >= patience) throw locked()
      await sleep(POLL_MS)
    }
  }

  return ({ onLost, ...asked }) => ({
    newLock(key) {
      const lease = randomUUID()
      let end = () => {}
      return {
        async lock(signal, cancel) {
          const from = await take(key, lease, asked, signal)
          end = keep({ ...deps, key, lease, from, cancel, onLost })
        },
        /** Never fails: a lease that cannot be released expires. */
        async unlock() {
          end()
          await leases
            .release(key, lease)
            .catch((error) => log.warn({ err: error, key }, 'tus: could not release a lease; it will expire'))
        },
      }
    },
  })
}

type Asked = Omit<Parameters<LeaseLocker>[0], 'onLost'>
type Held = Deps & { key: string; lease: string; from: number; cancel: () => void; onLost: () => void }

/** Renews a lease until the returned function is called or the lease is lost. */
function keep({ leases, log, leaseMs, stopping, key, lease, from, cancel, onLost }: Held): () => void {
  const pause = leaseMs / RENEWALS_PER_LEASE
  let renewing: ReturnType<typeof setTimeout> | undefined
  let expiring: ReturnType<typeof setTimeout> | undefined
  let held = true

  function stop(): void {
    held = false
    clearTimeout(renewing)
    clearTimeout(expiring)
  }

  function lose(): void {
    if (!held) return
    stop()
    log.warn({ key }, 'tus: a writer lost its lease')
    onLost()
  }

  /** Expires one pause before the row does, which leaves time to stop writes in flight. */
  function expireAfter(renewedAt: number): void {
    clearTimeout(expiring)
    expiring = setTimeout(lose, renewedAt + leaseMs - pause - performance.now())
  }

  async function renew(): Promise<void> {
    const renewedAt = performance.now()
    try {
      const state = await leases.renew(key, lease)
      if (!held) return
      if (state === null) return lose()
      expireAfter(renewedAt)
      if (state.wanted) cancel()
    } catch (error) {
      log.warn({ err: error, key }, 'tus: could not renew a lease; retrying')
    }
    if (held) schedule()
  }

  function schedule(): void {
    if (stopping()) cancel()
    renewing = setTimeout(renew, pause)
  }

  expireAfter(from)
  schedule()
  return stop
}

function locked(): Problem {
  return new Problem('upload_locked', 'Another request is writing to this upload. Get its offset (HEAD) and try again.')
}
