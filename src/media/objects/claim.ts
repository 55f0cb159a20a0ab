/** Claims held objects, so that they stay. */
import { notFound, Problem } from '../../problem.ts'
import type { Deps } from '../deps.ts'
import type { Addressed } from '../object/object.ts'

// An object may be restored between a refused claim and the look at why it was.
const TRIES = 3

/** See `Objects.claim`. */
export async function claim(
  { repository, publicAccess }: Deps<'holds'>,
  ids: readonly string[],
  userId: string,
): Promise<Addressed[]> {
  let waiting: string[] = []
  for (let tries = 0; tries < TRIES; tries += 1) {
    const claimed = await repository.holds.claim(ids, userId)
    if (claimed !== null) {
      const byId = new Map(claimed.map((object) => [object.id, publicAccess.addressed(object)]))
      return ids.flatMap((id) => byId.get(id) ?? [])
    }
    const found = (await repository.holds.find(ids, userId)).filter(({ status }) => status !== 'purging')
    if (found.length < ids.length) throw notFound()
    waiting = found.flatMap(({ id, status }) => (status === 'active' ? [] : [id]))
    if (waiting.length > 0) break
  }
  throw new Problem('state_conflict', 'Some of these objects are deleted, or not complete yet.', { ids: waiting })
}
