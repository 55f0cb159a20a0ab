/** Short-lived links to the bytes of an object that a viewer may read. */

import { type ReadLink, signKey, windowed } from '../bytes/links.ts'
import type { Deps } from '../deps.ts'
import type { VisibleObject } from '../object/object.ts'
import { contentPath } from '../public-copies/address.ts'

/** `party`: see `DecodeRequest`. */
export type Locating = { download: boolean; party: string }

/** See `Objects.sign`. */
export async function sign(deps: Deps<never>, object: VisibleObject): Promise<ReadLink> {
  const { publicity } = deps
  if (object.own || !publicity.needsCopy(object)) return signKey(deps, object, false)
  const key = publicity.copyOf(object)
  return key === null ? { url: contentPath(object.id), ...windowed(deps) } : signKey(deps, { ...object, key }, false)
}

/** See `Objects.locate`. */
export async function locate(
  deps: Deps<never>,
  object: VisibleObject,
  { download, party }: Locating,
): Promise<ReadLink> {
  const { publicity, publish } = deps
  const exact = object.own || !publicity.needsCopy(object)
  if (object.own && publicity.mustBeClean(object)) return signKey(deps, object, download)
  const publicKey = publicity.copyOf(object) ?? (exact ? null : await publish(object, party))
  const url = download ? null : publicity.atCdn({ ...object, publicKey })
  if (url !== null) return { ...windowed(deps), url }
  return signKey(deps, exact ? object : { ...object, key: publicKey ?? object.key }, download)
}
