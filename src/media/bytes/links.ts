/** Short-lived links to keys of the store. */

import { create as createDisposition } from 'content-disposition'
import type { Storage } from '../../storage/storage.ts'
import { dispositionOf, type VisibleObject } from '../object/object.ts'

/**
 * `cacheSeconds`: how long a redirect to the link may be cached. `url`: absolute, or a path on this service if it
 * begins with a slash.
 */
export type ReadLink = { url: string; expiresAt: Date; cacheSeconds: number }

type Life = { from: Date; expiresAt: Date; cacheSeconds?: number }
type Linked = Pick<VisibleObject, 'key' | 'mimeType' | 'originalName' | 'own'>
type Linking = { storage: Storage; now: () => number; limits: { signedUrlSeconds: number } }

/** A short-lived link to one of an object's keys; see `Storage.signGet`. */
export async function signKey(deps: Linking, linked: Linked, download: boolean): Promise<ReadLink> {
  const { key, mimeType, originalName, own } = linked
  const { from, expiresIn, ...life } = await inSession(deps, windowed(deps))
  const url = await deps.storage.signGet(key, {
    from,
    expiresIn,
    contentType: mimeType,
    disposition: download ? createDisposition(originalName) : dispositionOf(mimeType),
    cacheControl: own ? 'private' : 'public, max-age=31536000, immutable',
  })
  return { url, ...life }
}

/**
 * The life of a link, which begins at the start of a window of half its length: links made within one window are equal,
 * so that caches hit, and each has at least half of its life left.
 */
export function windowed({ now, limits }: Linking): Required<Life> {
  const expiresIn = limits.signedUrlSeconds
  const window = Math.max(1, Math.floor(expiresIn / 2)) * 1000
  const from = new Date(Math.floor(now() / window) * window)
  const expiresAt = new Date(from.getTime() + expiresIn * 1000)
  return { from, expiresAt, cacheSeconds: Math.floor((expiresAt.getTime() - now()) / 2000) }
}

/** The life of an upload link, which begins at `from`, or what the session that signs it leaves of it. */
export function uploadLife(
  deps: Pick<Linking, 'storage' | 'now'> & { limits: { uploadUrlSeconds: number } },
  from: Date,
): Promise<{ expiresAt: Date; expiresIn: number }> {
  return inSession(deps, { from, expiresAt: new Date(from.getTime() + deps.limits.uploadUrlSeconds * 1000) })
}

/** The life of a link, or what the session that signs it leaves of it, and its length in seconds. */
async function inSession<L extends Life>(
  { storage, now }: Pick<Linking, 'storage' | 'now'>,
  life: L,
): Promise<L & { expiresIn: number }> {
  const end = (await storage.linksEnd?.()) ?? null
  const lived = end === null || end >= life.expiresAt ? life : endingAt(end, life, now())
  return { ...lived, expiresIn: Math.floor((lived.expiresAt.getTime() - lived.from.getTime()) / 1000) }
}

function endingAt<L extends Life>(end: Date, life: L, now: number): L {
  const cacheSeconds = Math.floor((end.getTime() - now) / 2000)
  return { ...life, expiresAt: end, ...(life.cacheSeconds !== undefined && { cacheSeconds }) }
}
