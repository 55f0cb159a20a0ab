/** What happens to an object once it is there. */
import { create as createDisposition } from 'content-disposition'
import type { Caller } from '../auth/auth.ts'
import type { MediaEvent } from '../events/events.ts'
import { notFound, Problem } from '../problem.ts'
import { safeFileName } from './file-name.ts'
import type { Deps } from './lifecycle.ts'
import { createMoves } from './moves.ts'
import { dispositionOf, type Home, homeOf, type StoredObject, type Visibility } from './object.ts'
import type { Page } from './repository.ts'
import { missing } from './visibility.ts'

export type Change = { originalName?: string | undefined; visibility?: Visibility | undefined }
/** `cacheSeconds`: how long a redirect to it may be cached. */
export type ReadLink = { url: string; expiresAt: Date; cacheSeconds: number }

export function createObjects(deps: Deps) {
  const { repository, storage, relay, now, limits, urlOf, hasCdn } = deps
  const moves = createMoves(deps)
  const announced = <T extends { outbox: MediaEvent[] } | null>(row: T): T => {
    if (row !== null) relay.announce(row)
    return row
  }

  async function moveTo(object: StoredObject, home: Home): Promise<string> {
    const stored = await storage.head(object.key)
    if (stored === null) throw new Problem('storage_unavailable', 'The bytes could not be found. Try again.')
    return moves.copy(object, home, stored.etag)
  }

  return {
    /** An active object that the viewer may see; null stands for someone who is not known. */
    async get(id: string, viewer: Caller | null): Promise<StoredObject> {
      return (await repository.findVisible(id, viewer)) ?? missing(viewer)
    },

    /** A page of the caller's own objects, newest first, and whether there are more. */
    async list(caller: Caller, page: Page): Promise<{ objects: StoredObject[]; more: boolean }> {
      const found = await repository.list(caller.userId, { ...page, limit: page.limit + 1 })
      return { objects: found.slice(0, page.limit), more: found.length > page.limit }
    },

    /** Those of the ids that are the caller's active objects, newest first. */
    listByIds: (caller: Caller, ids: string[]): Promise<StoredObject[]> => repository.listByIds(caller.userId, ids),

    /**
     * Changes name or visibility. Where there is a CDN, what becomes public or private moves into its home or out of
     * it. Throws Problem `state_conflict` when it was moved by another change meanwhile.
     */
    async update(id: string, caller: Caller, change: Change, origin: string): Promise<StoredObject> {
      const { originalName, visibility } = change
      const before = await repository.findOwned(id, caller)
      if (before?.status !== 'active') throw notFound()
      const home = visibility === 'public' && hasCdn ? 'public/' : 'media/'
      const moving = visibility !== undefined && home !== homeOf(before)
      const movedTo = moving ? await moveTo(before, home) : undefined
      const safe = {
        ...(originalName !== undefined && { originalName: safeFileName(originalName) }),
        ...(visibility !== undefined && { visibility }),
      }
      const place = {
        ...(visibility !== undefined && { key: before.key }),
        ...(movedTo !== undefined && { movedTo }),
      }
      const url = urlOf({ id, key: movedTo ?? before.key }, origin)
      const event = { channel: 'photo:updated' as const, fields: { url, ...safe } }
      const row = announced(await repository.update(id, caller, { ...safe, ...place }, event))
      if (movedTo !== undefined) await (row === null ? moves.remove(movedTo) : moves.leave(before))
      if (row !== null) return row
      const after = await repository.findOwned(id, caller)
      if (after?.status !== 'active') throw notFound()
      throw new Problem('state_conflict', 'Another change was made at the same time. Try again.')
    },

    /** Soft delete: it can be restored within the retention time. */
    async remove(id: string, caller: Caller): Promise<void> {
      announced(await repository.remove(id, caller)) ?? missing(caller)
    },

    async restore(id: string, caller: Caller, origin: string): Promise<StoredObject> {
      const before = await repository.findOwned(id, caller)
      if (before === null) throw notFound()
      const event = { channel: 'photo:restored' as const, fields: { url: urlOf(before, origin) } }
      return announced(await repository.restore(id, caller, event)) ?? missing(caller)
    },

    /**
     * A short-lived link to the bytes; see `Storage.signGet`. The same within a window of half its life, so that
     * caches get hits, and with at least that half left.
     */
    async sign(object: StoredObject, { download = false } = {}): Promise<ReadLink> {
      const { key, mimeType, originalName, visibility } = object
      const expiresIn = limits.signedUrlSeconds
      const window = Math.max(1, Math.floor(expiresIn / 2)) * 1000
      const from = new Date(Math.floor(now() / window) * window)
      const url = await storage.signGet(key, {
        from,
        expiresIn,
        contentType: mimeType,
        disposition: download ? createDisposition(originalName) : dispositionOf(mimeType),
        cacheControl: visibility === 'public' ? 'public, max-age=31536000, immutable' : 'private',
      })
      const expiresAt = new Date(from.getTime() + expiresIn * 1000)
      return { url, expiresAt, cacheSeconds: Math.floor((expiresAt.getTime() - now()) / 2000) }
    },
  }
}
