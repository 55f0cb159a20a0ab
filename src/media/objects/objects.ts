/** What happens to an object once it is there. */

import { create as createDisposition } from 'content-disposition'
import type { Caller } from '../../auth/caller.ts'
import type { MediaEvent } from '../../events/events.ts'
import { notFound, Problem } from '../../problem.ts'
import { createMoves } from '../bytes/rekey.ts'
import type { Deps } from '../deps.ts'
import { safeFileName } from '../object/file-name.ts'
import { missing } from '../object/missing.ts'
import { type Addressed, dispositionOf, type Visibility, type VisibleObject } from '../object/object.ts'
import type { Viewer } from '../object/viewer.ts'
import { contentPath } from '../public-copies/address.ts'
import type { Page } from '../table/repository.ts'

export type Change = { originalName?: string | undefined; visibility?: Visibility | undefined }
/** `cacheSeconds`: how long a redirect to it may be cached. A `url` that begins with a slash is on this service. */
export type ReadLink = { url: string; expiresAt: Date; cacheSeconds: number }

type Linked = Pick<VisibleObject, 'mimeType' | 'originalName' | 'own'>

// The copy for others is made, or taken away, once while an object is public.
const UPDATE_TRIES = 3

export function createObjects(deps: Deps) {
  const { repository, storage, relay, now, limits, publicity, publish } = deps
  const { addressed } = publicity
  const moves = createMoves(deps)
  const announced = <T extends { outbox: MediaEvent[] } | null>(row: T): T => {
    if (row !== null) relay.announce(row)
    return row
  }

  /** The same within a window of half its life, so that caches get hits, and with at least that half left. */
  function windowed(): { from: Date; expiresAt: Date; cacheSeconds: number } {
    const expiresIn = limits.signedUrlSeconds
    const window = Math.max(1, Math.floor(expiresIn / 2)) * 1000
    const from = new Date(Math.floor(now() / window) * window)
    const expiresAt = new Date(from.getTime() + expiresIn * 1000)
    return { from, expiresAt, cacheSeconds: Math.floor((expiresAt.getTime() - now()) / 2000) }
  }

  /** A short-lived link to one of an object's keys; see `Storage.signGet`. */
  async function sign(key: string, object: Linked, download: boolean): Promise<ReadLink> {
    const { mimeType, originalName, own } = object
    const { from, ...life } = windowed()
    const url = await storage.signGet(key, {
      from,
      expiresIn: limits.signedUrlSeconds,
      contentType: mimeType,
      disposition: download ? createDisposition(originalName) : dispositionOf(mimeType),
      cacheControl: own ? 'private' : 'public, max-age=31536000, immutable',
    })
    return { url, ...life }
  }

  return {
    /** An active object that the viewer may see. */
    async get(id: string, viewer: Viewer): Promise<Addressed<VisibleObject>> {
      return addressed((await repository.findVisible(id, viewer)) ?? missing(viewer))
    },

    /** A page of the caller's own objects, newest first, and whether there are more. */
    async list(caller: Caller, page: Page): Promise<{ objects: Addressed[]; more: boolean }> {
      const found = await repository.list(caller.userId, { ...page, limit: page.limit + 1 })
      return { objects: found.slice(0, page.limit).map((object) => addressed(object)), more: found.length > page.limit }
    },

    /** Those of the ids that are the caller's active objects, newest first. */
    async listByIds(caller: Caller, ids: string[]): Promise<Addressed[]> {
      return (await repository.listByIds(caller.userId, ids)).map((object) => addressed(object))
    },

    /**
     * Changes name or visibility. What becomes private is taken from others, and from the CDN, at once. Throws Problem
     * `state_conflict` when others change it all the time.
     */
    async update(id: string, caller: Caller, change: Change): Promise<Addressed> {
      const { originalName, visibility } = change
      const safe = {
        ...(originalName !== undefined && { originalName: safeFileName(originalName) }),
        ...(visibility !== undefined && { visibility }),
      }
      for (let tries = 0; tries < UPDATE_TRIES; tries += 1) {
        const before = await repository.findOwned(id, caller)
        if (before?.status !== 'active') throw notFound()
        const { publicKey } = before
        const url = publicity.urlOf({ ...before, ...safe })
        const event = { channel: 'photo:updated' as const, fields: { url, ...safe } }
        const row = announced(await repository.update(id, caller, { ...safe, publicKey }, event))
        if (row !== null && visibility === 'private') await moves.tryToWithdraw(id, row)
        if (row !== null) return addressed(row)
      }
      throw new Problem('state_conflict', 'Another change was made at the same time. Try again.')
    },

    /** Soft delete: it can be restored within the retention time. Others, and the CDN, have it no more. */
    async remove(id: string, caller: Caller): Promise<void> {
      const transients = announced(await repository.remove(id, caller)) ?? missing(caller)
      await moves.tryToWithdraw(id, transients)
    },

    async restore(id: string, caller: Caller): Promise<Addressed> {
      const before = await repository.findOwned(id, caller)
      if (before === null) throw notFound()
      const event = { channel: 'photo:restored' as const, fields: { url: publicity.urlOf(before) } }
      return addressed(announced(await repository.restore(id, caller, event)) ?? missing(caller))
    },

    /**
     * A short-lived link to what the viewer may have of an object, at once. Of what is not made yet, it is one to
     * `content` here, which makes it when it is followed.
     */
    async sign(object: VisibleObject): Promise<ReadLink> {
      if (object.own || !publicity.needsCopy(object)) return sign(object.key, object, false)
      const copy = publicity.copyOf(object)
      return copy === null ? { url: contentPath(object.id), ...windowed() } : sign(copy, object, false)
    },

    /** A short-lived link to a rendition. */
    signRendition: (made: Linked & { key: string }, { download }: { download: boolean }): Promise<ReadLink> =>
      sign(made.key, made, download),

    /**
     * Where the bytes are that the viewer may have: at the CDN, or under a short-lived link. `party` and what it throws:
     * see `Publish`.
     */
    async locate(object: VisibleObject, { download, party }: { download: boolean; party: string }): Promise<ReadLink> {
      const exact = object.own || !publicity.needsCopy(object)
      if (object.own && publicity.mustBeClean(object)) return sign(object.key, object, download)
      const publicKey = publicity.copyOf(object) ?? (exact ? null : await publish(object, party))
      const url = download ? null : publicity.atCdn({ ...object, publicKey })
      if (url !== null) return { ...windowed(), url }
      return sign(exact ? object.key : (publicKey ?? object.key), object, download)
    },
  }
}
