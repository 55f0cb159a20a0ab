/** Renditions of a picture: made on the first request, stored beside the original, and purged with it. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { inTime } from '../../deadline.ts'
import { Problem } from '../../problem.ts'
import { signKey } from '../bytes/links.ts'
import { groupOf } from '../decoding/decode.ts'
import type { Deps } from '../deps.ts'
import { withExtension } from '../object/file-name.ts'
import { missing } from '../object/missing.ts'
import { renditionsPrefix, type VisibleObject } from '../object/object.ts'
import { forNonOwners, outcomeOf, refusalOf } from '../object/outcomes.ts'
import {
  dayOf,
  isKept,
  type Kept,
  LEAST_NON_OWNERS_BYTES,
  largestFor,
  MOST_RENDITIONS,
  placeFor,
  type Rendered,
} from '../object/places.ts'
import { isForNonOwners, isPicture, nameOf, type Rendition, renditionOf, type Wish } from '../object/rendition.ts'
import type { Viewer } from '../object/viewer.ts'
import { createMaker } from './make.ts'

/** The longest that a request waits for a rendition, for its turn included; then the client is asked to retry. */
const DEADLINE_MS = 20_000
const POLL_MS = 100

/** A stored rendition, with what a link to it needs of the object. */
export type StoredRendition = Pick<VisibleObject, 'key' | 'mimeType' | 'originalName' | 'own'> & { made: Rendition }

/** `party`: the party of a non-owner, see `DecodeRequest`. */
export type Asked = { wish: Wish; accept: string; party: string }

type Groups = 'renditions' | 'outcomes' | 'owners'

export function createRenditions(deps: Deps<Groups>) {
  const makeOnce = createMaker(deps)
  return {
    get: (id: string, viewer: Viewer, asked: Asked) => get(deps, makeOnce, id, viewer, asked),
    sign: (made: StoredRendition, { download }: { download: boolean }) => signKey(deps, made, download),
  }
}

/** See `Renditions.get`. */
async function get(
  deps: Deps<Groups>,
  makeOnce: ReturnType<typeof createMaker>,
  id: string,
  viewer: Viewer,
  asked: Asked,
): Promise<StoredRendition | VisibleObject> {
  const { repository, limits } = deps
  const { version } = deps.decode
  const { wish, accept } = asked
  const signed = viewer === 'link'
  const until = Date.now() + DEADLINE_MS
  for (;;) {
    const object = await repository.renditions.find(id, viewer, version)
    if (object === null) return missing(viewer)
    if (!isPicture(object))
      throw new Problem('media_type_unsupported', `There are no renditions of ${object.mimeType}.`)
    const { own, userId } = object
    if (!own && !isForNonOwners(wish)) throw linkRequired()
    const rendition = renditionOf(wish, object, { sizes: limits.renditionSizes, accept })
    const name = nameOf(rendition)
    const entry = object.renditions[name]
    if (isKept(entry)) return stored(deps, object, name, entry, rendition)
    const refusal = refusalOf(object, name, groupOf({ kind: 'rendition' }))
    if (refusal !== undefined) throw refusal
    const place = placeFor(name, object, own)
    if (!own && (place === null || isSpent(object, name))) return (await instead(deps, object, rendition)) ?? object
    const lesser = () => instead(deps, object, rendition)
    if (place === null) return signed ? ((await lesser()) ?? Promise.reject(tooBusy())) : Promise.reject(noPlace())
    const key = `${renditionsPrefix(id)}${randomBytes(6).toString('hex')}.${rendition.format}`
    const claim = { id, userId, name, key, own, version }
    const party = own ? `owner:${userId}` : asked.party
    try {
      const making = makeOnce({ claim, ...place, object, rendition, party, until })
      // A late render goes on, for the next request.
      const made = await inTime(making, Math.max(0, until - Date.now()), () => Promise.reject(tooBusy()))
      // Another replica may be making it, or the picture has another size.
      if (!made) await sleep(POLL_MS)
    } catch (error) {
      // Anyone may have a link, and only the owner is told of the quota.
      if (!signed || !isQuota(error)) throw error
      return (await lesser()) ?? Promise.reject(tooBusy())
    }
    if (Date.now() > until) throw tooBusy()
  }
}

/** A stored rendition; records its use if it was made for a non-owner. */
async function stored(
  { repository, log }: Deps<'renditions'>,
  object: Rendered,
  name: string,
  entry: Kept,
  made: Rendition,
): Promise<StoredRendition> {
  if (entry.used !== undefined && entry.used < dayOf(object.now))
    await repository.renditions
      .noteUse(object.id, name, entry)
      .catch((error) => log.warn({ err: error, id: object.id }, 'rendition: use not noted'))
  const { own } = object
  const originalName = withExtension(object.originalName, `.${made.format}`)
  return { key: entry.key, mimeType: `image/${made.format}`, originalName, own, made }
}

/** The largest stored rendition, in place of one that may not be made. */
async function instead(
  deps: Deps<'renditions'>,
  object: Rendered,
  rendition: Rendition,
): Promise<StoredRendition | null> {
  const largest = largestFor(rendition, object.renditions)
  return largest === undefined ? null : stored(deps, object, nameOf(largest.made), largest.entry, largest.made)
}

/** Whether non-owners have caused as many bytes of renditions as they may, or this one exceeded that. */
function isSpent(object: Rendered, name: string): boolean {
  const refused = outcomeOf(object, forNonOwners(name))
  const spent = object.nonOwnersBytes >= Math.max(object.sizeBytes, LEAST_NON_OWNERS_BYTES)
  return spent || (refused !== undefined && refused.until > object.now)
}

function tooBusy(): Problem {
  return new Problem('overloaded', 'The rendition is not ready yet. Try again.')
}

function noPlace(): Problem {
  return new Problem('quota_exceeded', `There may be ${MOST_RENDITIONS} renditions of a picture.`)
}

function isQuota(error: unknown): boolean {
  return error instanceof Problem && error.code === 'quota_exceeded'
}

function linkRequired(): Problem {
  return new Problem(
    'link_required',
    'Without a link from `renditions` there is only `w` of a picture that is not yours, with `format=auto`.',
  )
}
