/** Puts the bytes of a tus upload under its key, where the process died that had stored the last of them. */
import { notFound, Problem } from '../../problem.ts'
import type { UploadRecords } from '../../storage/tus.ts'
import type { Deps } from '../deps.ts'
import { UPLOAD_LEASE_SECONDS } from '../object/graces.ts'
import { createLeaseLocker, type UploadLeases } from './tus-locker.ts'

/** The state of a tus upload that its store keeps on the row. */
export function recordsOf({ repository }: Pick<Deps<'tusUploads'>, 'repository'>): UploadRecords {
  const { record: load, keepUploadId, declareSize } = repository.tusUploads
  return { load, keepUploadId, declareSize }
}

export function leasesOf({ repository }: Pick<Deps<'tusUploads'>, 'repository'>): UploadLeases {
  const { takeLease: take, renewLease: renew, releaseLease: release } = repository.tusUploads
  return { take, renew, release }
}

/**
 * Assembles a pending tus upload whose bytes are all there, as its only writer.
 * @param ask whether to ask another writer to stop, and to wait for that
 * @throws Problem `upload_incomplete` while bytes are missing, `not_found` when the row is not pending or the store has
 * lost the upload, or `upload_locked` while another request writes to it
 */
export async function assembleTus(deps: Deps<'tusUploads'>, key: string, { ask }: { ask: boolean }): Promise<void> {
  const { storage, tusStores, log } = deps
  const lost = new AbortController()
  const { signal } = lost
  const leaseMs = UPLOAD_LEASE_SECONDS * 1000
  const locker = createLeaseLocker({ leases: leasesOf(deps), log, leaseMs, stopping: () => false })
  const lock = locker({ ask, ...(ask ? {} : { patienceMs: 0 }), onLost: () => lost.abort() }).newLock(key)
  await lock.lock(signal, () => {})
  try {
    if ((await storage.head(key, { signal })) !== null) return
    const records = recordsOf(deps)
    const record = await records.load(key)
    if (record === null) throw notFound()
    const hasAll = await tusStores.hasAll(key, record, { signal })
    if (hasAll === false) throw new Problem('upload_incomplete', 'Not all bytes of the upload have arrived yet.')
    // It cannot change while this writer has the lease.
    const load = async () => record
    await tusStores.open({ records: { ...records, load }, signal, caller: '' }).assemble(key)
  } finally {
    await lock.unlock()
  }
}
