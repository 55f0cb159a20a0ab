/**
 * Step: removes orphans, which are bytes without a row. Two searches compare a listing of the store, which is in order
 * of time, with the table. The first continues where the last pass ended, up to PENDING_SECONDS ago, so that orphans go
 * soon. Bytes can arrive after it has passed, such as from a PUT that took hours: the second goes through all keys
 * again and again, at a rate that costs the store little.
 *
 * The age of a key is that of the id in it, by the database's clock: the clock of a store, or of a process, may be
 * wrong. The table refuses an id that is older than half of PENDING_SECONDS, so that bytes without a row at
 * PENDING_SECONDS never get one.
 */
import { type Home, homes, idOf, madeAtOf } from '../../object/object.ts'
import { doEach, failWith } from '../rows.ts'
import { LISTED_KEYS, type Step, type UpkeepDeps, type UpkeepReport } from '../step.ts'

// At most 10,000 keys of each home a minute, in all replicas together: ten million keys take 17 hours. At the price
// that AWS asks for a request (November 2026), that is below 20 cents a day.
const RECHECK_PAGES = 10
const RECHECK_SECONDS = 60
// So that a small store is not listed all the time.
const RECHECK_PAUSE_SECONDS = 3600

export const removeOrphans: Step<'searches' | 'keys' | 'sweeps'> = async (deps, report) => {
  failWith(await doEach(homes, (home) => searchNew(home, deps, report)))
}

export const recheckOrphans: Step<'searches' | 'keys' | 'sweeps'> = async (deps, report) => {
  failWith(await doEach(homes, (home) => searchAgain(home, deps, report)))
}

async function searchNew(
  home: Home,
  deps: UpkeepDeps<'searches' | 'keys' | 'sweeps'>,
  report: UpkeepReport,
): Promise<void> {
  const { repository, storage } = deps
  const search = `orphans in ${home}` as const
  const turn = await repository.searches.take(search)
  if (turn === null) return
  const end = firstKeyAt(home, turn.oldBefore)
  const errors: unknown[] = []
  for (let { position } = turn; ; ) {
    const listed = await storage.list({ prefix: home, startAfter: position, limit: LISTED_KEYS })
    const due = listed.filter(({ key }) => key < end)
    errors.push(...(await removeOrphansOf(due, turn.oldBefore, deps, report)))
    position = due.at(-1)?.key ?? position
    const done = due.length < LISTED_KEYS
    await repository.searches.move(search, position || home, done ? 0 : undefined)
    if (done) return failWith(errors)
  }
}

async function searchAgain(
  home: Home,
  deps: UpkeepDeps<'searches' | 'keys' | 'sweeps'>,
  report: UpkeepReport,
): Promise<void> {
  const { repository, storage, stopping } = deps
  const search = `recheck of ${home}` as const
  const turn = await repository.searches.take(search)
  if (turn === null) return
  let { position } = turn
  const errors: unknown[] = []
  for (let page = 0; page < RECHECK_PAGES && !stopping(); page += 1) {
    const listed = await storage.list({ prefix: home, startAfter: position, limit: LISTED_KEYS })
    errors.push(...(await removeOrphansOf(listed, turn.oldBefore, deps, report)))
    position = listed.length < LISTED_KEYS ? '' : (listed.at(-1)?.key ?? '')
    if (position === '') break
    await repository.searches.move(search, position)
  }
  await repository.searches.move(search, position, position === '' ? RECHECK_PAUSE_SECONDS : RECHECK_SECONDS)
  failWith(errors)
}

/**
 * Removes the keys whose id has no row. An object that has a row is not touched: if its row does not know a key, it is
 * swept in time. Returns the failures, for which the search does not wait: the second search comes by again.
 */
async function removeOrphansOf(
  listed: readonly { key: string }[],
  oldBefore: number,
  { repository, storage }: UpkeepDeps<'searches' | 'keys' | 'sweeps'>,
  report: UpkeepReport,
): Promise<unknown[]> {
  const old = listed.flatMap(({ key }) => {
    const id = idOf(key)
    return id !== undefined && madeAtOf(id) < oldBefore ? [{ key, id }] : []
  })
  if (old.length === 0) return []
  const withRow = await repository.keys.idsWithRow([...new Set(old.map(({ id }) => id))])
  const known = await repository.keys.known(old.flatMap(({ key, id }) => (withRow.has(id) ? [key] : [])))
  const strays = old.filter(({ key, id }) => withRow.has(id) && !known.has(key))
  if (strays.length > 0) await repository.sweeps.schedule([...new Set(strays.map(({ id }) => id))])
  const orphans = old.flatMap(({ key, id }) => (withRow.has(id) ? [] : [key]))
  if (orphans.length === 0) return []
  try {
    await storage.remove(orphans)
    report.orphans += orphans.length
    return []
  } catch (error) {
    return [error]
  }
}

/**
 * The smallest key of an object created at a time or later: a UUID version 7 begins with it in milliseconds (RFC 9562).
 */
function firstKeyAt(home: Home, time: number): string {
  const hex = Math.max(0, time).toString(16).padStart(12, '0')
  return `${home}${hex.slice(0, 8)}-${hex.slice(8)}`
}
