/** Short-lived links to the bytes of an object that a viewer may read. */

import { type ReadLink, signKey, windowed } from '../bytes/links.ts'
import type { Deps } from '../deps.ts'
import type { VisibleObject } from '../object/object.ts'
import { asCopy, contentPath } from '../public-copies/access.ts'

/** `party`: see `DecodeRequest`. */
export type Locating = { download: boolean; party: string }

/** See `Objects.sign`. */
export async function sign(deps: Deps<never>, object: VisibleObject): Promise<ReadLink> {
  const { publicAccess } = deps
  if (object.own || !publicAccess.needsCopy(object)) return signKey(deps, object, false)
  const key = publicAccess.copyOf(object)
  return key === null ? { url: contentPath(object.id), ...windowed(deps) } : signKey(deps, asCopy(object, key), false)
}

/** See `Objects.locate`. */
export async function locate(
  deps: Deps<never>,
  object: VisibleObject,
  { download, party }: Locating,
): Promise<ReadLink> {
  const { publicAccess, makePublicCopy } = deps
  const exact = object.own || !publicAccess.needsCopy(object)
  if (object.own && publicAccess.mustBeClean(object)) return signKey(deps, object, download)
  const publicKey = publicAccess.copyOf(object) ?? (exact ? null : await makePublicCopy(object, party))
  const url = download ? null : publicAccess.atCdn({ ...object, publicKey })
  if (url !== null) return { ...windowed(deps), url }
  return signKey(deps, exact || publicKey === null ? object : asCopy(object, publicKey), download)
}
