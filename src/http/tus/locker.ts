/**
 * One writer for each tus upload, whichever replica it came to: a lease on the upload's row, renewed while the
 * request runs. No connection is kept for it, so it holds behind pgbouncer's transaction mode, too.
 *
 * A writer that can't renew in time stops by itself before its lease runs out. One that dies is waited for no longer
 * than the lease lasts.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Locker } from '@tus/server'
import type { Log } from '../../log.ts'
import { notFound, Problem } from '../../problem.ts'

/** See `tus-statements.ts`; each may throw Problem `database_unavailable`. */
export type UploadLeases = {
  take(key: string, lease: string, options: { ask: boolean }): Promise<'taken' | 'held' | 'gone'>
  renew(key: string, lease: string): Promise<{ wanted: boolean } | null>
  release(key: string, lease: string): Promise<void>
}

export type LeaseLocker = (request: {
  /**
   * Whether a writer that has the lock is asked to stop: a client that asks how far its upload has come, or ends it,
   * has lost the connection of the request before, also where this side has not noticed.
   */
  ask: boolean
  /** Called when the lock was lost, or could not be renewed in time: nothing may be written any more. */
  onLost: () => void
}) => Locker

type Deps = {
  leases: UploadLeases
  log: Log
  /** How long a lease lasts without being renewed. */
  leaseMs: number
  /** Whether the process is on its way out: writers then stop, so that another replica can go on at once. */
  stopping: () => boolean
}

// Also how long a holder may take to hear that someone waits.
const RENEWALS_PER_LEASE = 5
const POLL_MS = 200
// A second PATCH is a client that mistakes what its first one is doing; it has to ask first how far that came.
const PATIENCE_MS = 1500

/**
 * `lock` throws Problem `upload_locked` when another request has the upload and keeps it, and `not_found` when the
 * upload is not under way (any more).
 */
export function createLeaseLocker(deps: Deps): LeaseLocker {
  const { leases, log, leaseMs } = deps

  /** Resolves with the time from before the statement that took it, so that no one believes longer than the row says. */
  async function take(key: string, lease: string, ask: boolean, signal: AbortSignal): Promise<number> {
    // Whoever asks waits long enough for a holder that died.
    const patience = ask ? leaseMs + PATIENCE_MS : PATIENCE_MS
    for (const start = performance.now(); ; ) {
      const from = performance.now()
      const outcome = await leases.take(key, lease, { ask })
      if (outcome === 'taken') return from
      if (outcome === 'gone') throw notFound()
      if (signal.aborted || from - start >= patience) throw locked()
      await sleep(POLL_MS)
    }
  }

  return ({ ask, onLost }) => ({
    newLock(key) {
      const lease = randomUUID()
      let end = () => {}
      return {
        async lock(signal, cancel) {
          const from = await take(key, lease, ask, signal)
          end = keep({ ...deps, key, lease, from, cancel, onLost })
        },
        /** Never fails: what could not be given back runs out. */
        async unlock() {
          end()
          await leases.release(key, lease).catch((error) => log.warn({ err: error, key }, 'tus: a lease runs out'))
        },
      }
    },
  })
}

type Held = Deps & { key: string; lease: string; from: number; cancel: () => void; onLost: () => void }

/** Renews a lease until the function it returns is called, or until it is lost. */
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
    log.warn({ key }, 'tus: a writer has lost its upload')
    onLost()
  }

  /** One pause before the row says so: what is on its way then still has to stop. */
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
      log.warn({ err: error, key }, 'tus: a lease could not be renewed, trying again')
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
  return new Problem('upload_locked', 'Another request is writing to this upload. Ask how far it is and try again.')
}
