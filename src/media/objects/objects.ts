/** Use cases of stored objects: get, list, change, soft-delete, restore. */

import type { Caller } from '../../auth/caller.ts'
import type { MediaEvent } from '../../events/events.ts'
import { notFound, Problem } from '../../problem.ts'
import type { Rekeying } from '../bytes/rekey.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { missing } from '../object/missing.ts'
import type { Addressed, Visibility } from '../object/object.ts'
import type { Viewer } from '../object/viewer.ts'
import type { Page } from '../table/objects.ts'

/** Absent fields stay unchanged. */
export type Change = { originalName?: string | undefined; visibility?: Visibility | undefined }

type Changing = Deps<'objects'> & { rekeying: Rekeying }

// A public copy is made or withdrawn once while an object is public, so few retries are enough.
const UPDATE_TRIES = 3

/** See `Objects.get`. */
export async function get({ repository, publicAccess }: Deps<'objects'>, id: string, viewer: Viewer) {
  return publicAccess.addressed((await repository.objects.findVisible(id, viewer)) ?? missing(viewer))
}

/** See `Objects.listByIds`. */
export async function listByIds(
  { repository, publicAccess }: Deps<'objects'>,
  caller: Caller,
  ids: string[],
): Promise<Addressed[]> {
  return (await repository.objects.listByIds(caller.userId, ids)).map((object) => publicAccess.addressed(object))
}

/** See `Objects.list`. */
export async function list({ repository, publicAccess }: Deps<'objects'>, caller: Caller, page: Page) {
  const found = await repository.objects.list(caller.userId, { ...page, limit: page.limit + 1 })
  const objects = found.slice(0, page.limit).map((object) => publicAccess.addressed(object))
  return { objects, more: found.length > page.limit }
}

/** See `Objects.update`. */
export async function update(deps: Changing, id: string, caller: Caller, change: Change): Promise<Addressed> {
  const { repository, rekeying, publicAccess } = deps
  const { originalName, visibility } = change
  const safe = {
    ...(originalName !== undefined && { originalName: safeFileName(originalName) }),
    ...(visibility !== undefined && { visibility }),
  }
  for (let tries = 0; tries < UPDATE_TRIES; tries += 1) {
    const before = await repository.objects.findOwned(id, caller)
    if (before?.status !== 'active') throw notFound()
    const { publicKey } = before
    const url = publicAccess.urlOf({ ...before, ...safe })
    const event = { channel: 'photo:updated' as const, fields: { url, ...safe } }
    const row = announced(deps, await repository.objects.update(id, caller, { ...safe, publicKey }, event))
    if (row !== null && visibility === 'private') await rekeying.tryToRemoveTransients(id, row)
    if (row !== null) return publicAccess.addressed(row)
  }
  throw new Problem('state_conflict', 'Another change was made at the same time. Try again.')
}

/** See `Objects.remove`. */
export async function remove(deps: Changing, id: string, caller: Caller): Promise<void> {
  const transients = announced(deps, await deps.repository.objects.remove(id, caller)) ?? missing(caller)
  await deps.rekeying.tryToRemoveTransients(id, transients)
}

/** See `Objects.restore`. */
export async function restore(deps: Changing, id: string, caller: Caller): Promise<Addressed> {
  const { repository, publicAccess } = deps
  const before = await repository.objects.findOwned(id, caller)
  if (before === null) throw notFound()
  const event = { channel: 'photo:restored' as const, fields: { url: publicAccess.urlOf(before) } }
  return publicAccess.addressed(announced(deps, await repository.objects.restore(id, caller, event)) ?? missing(caller))
}

/** Sends the events of a changed row in the background. */
function announced<T extends { outbox: MediaEvent[] } | null>({ relay }: Changing, row: T): T {
  if (row !== null) relay.announce(row)
  return row
}
