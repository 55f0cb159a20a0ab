/** Bytes without a row are removed. */
import { type Home, homes } from '../../object.ts'
import { LISTED_KEYS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

/**
 * Compares a listing of the store, which is in order of time, with the table: from where the last pass came to, up
 * to PENDING_SECONDS ago, for a younger object's row may still be on its way. An older id is refused as a row, so
 * bytes found without one stay without one.
 */
export const removeOrphans: Step = async (deps, report) => {
  for (const home of homes) await removeOrphansIn(home, deps, report)
}

async function removeOrphansIn(
  home: Home,
  { repository, storage, now, pendingSeconds }: UpkeepDeps,
  report: UpkeepReport,
): Promise<void> {
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
