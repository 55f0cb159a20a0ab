/** Renditions of a picture: made when first asked for, kept beside the original, and gone with it. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { inTime } from '../../deadline.ts'
import { Problem } from '../../problem.ts'
import { putDeadlineMs } from '../../storage/storage.ts'
import { groupOf } from '../decoding/decode.ts'
import type { Deps } from '../deps.ts'
import { missing } from '../object/missing.ts'
import { dispositionOf, renditionsPrefix, type VisibleObject } from '../object/object.ts'
import { forStrangers, outcomeOf, refusalOf } from '../object/outcomes.ts'
import {
  dayOf,
  isKept,
  type Kept,
  LEAST_STRANGERS_BYTES,
  largestFor,
  MOST_RENDITIONS,
  placeFor,
  type Victim,
} from '../object/places.ts'
import { isForStrangers, isPicture, nameOf, type Rendition, renditionOf, type Wish } from '../object/rendition.ts'
import type { Viewer } from '../object/viewer.ts'
import type { Claim, Rendered } from '../table/renditions.ts'

/** How long one may take, with the waiting for its turn; beyond, the client is asked to come back. */
const DEADLINE_MS = 20_000
// A maker that died holds up nobody for longer.
const LEASE_SECONDS = 60
const RENEWAL_MS = 20_000
const POLL_MS = 100

/** A rendition's bytes, with what a link to them needs of the object. */
export type StoredRendition = Pick<VisibleObject, 'key' | 'mimeType' | 'originalName' | 'own'> & { made: Rendition }

/** `party`: of a stranger, see `DecodeRequest`. */
export type Asked = { wish: Wish; accept: string; party: string }

type Job = {
  claim: Claim
  victim: Victim | null
  object: Rendered
  rendition: Rendition
  party: string
  until: number
}

export function createRenditions(deps: Deps) {
  const { repository, storage, decode, log, limits } = deps
  const { version } = decode
  const underWay = new Map<string, Promise<boolean>>()

  /**
   * Reads the original, makes the rendition and stores it. Whatever fails leaves nothing but what upkeep sweeps. False when
   * somebody else makes it, or the row has changed.
   */
  async function make(job: Job): Promise<boolean> {
    const { claim, victim } = job
    const life = { leaseSeconds: LEASE_SECONDS, linksSeconds: limits.signedUrlSeconds }
    if (!(await repository.claimRendition(claim, { victim, ...life }))) return false
    try {
      await makeClaimed(job)
      return true
    } catch (error) {
      await giveUp(claim)
      if (error instanceof Lost) return false
      throw error
    }
  }

  async function makeClaimed({ claim, object, rendition, party, until }: Job): Promise<void> {
    const { key } = claim
    const { mimeType, metadata } = object
    const expected = { width: metadata.width ?? 0, height: metadata.height ?? 0 }
    const task = {
      kind: 'rendition',
      mimeType,
      rendition,
      expected,
      placeholder: metadata.thumbHash === undefined,
    } as const
    const { bytes, placeholder } = await holding(claim, () => decode(object, task, { party, until }))
    // The picture is of another size, which its row says by now.
    if (bytes === undefined) throw new Lost()
    if (putDeadlineMs(bytes.length) > LEASE_SECONDS * 1000) throw tooLarge()
    const contentType = `image/${rendition.format}`
    await storage.put(key, bytes, { contentType, disposition: dispositionOf(contentType) })
    const kept = await repository.keepRendition(claim, { sizeBytes: bytes.length, placeholder })
    if (kept === 'kept') return
    await storage.remove([key])
    if (kept === 'over_quota' && claim.own) throw overQuota()
  }

  /** Keeps a claim in force while something takes its time. */
  async function holding<T>(claim: Claim, work: () => Promise<T>): Promise<T> {
    const renew = () =>
      repository
        .renewRendition(claim, LEASE_SECONDS)
        .catch((error) => log.warn({ err: error, id: claim.id }, 'rendition: claim not renewed'))
    const timer = setInterval(renew, RENEWAL_MS)
    try {
      return await work()
    } finally {
      clearInterval(timer)
    }
  }

  async function giveUp({ id, key }: Claim): Promise<void> {
    try {
      await repository.dropRendition(id, key)
    } catch (error) {
      log.warn({ err: error, id }, 'rendition: left for its lease to end')
    }
  }

  /** All who ask for the same one at the same time wait for one making of it; strangers never for what only its owner learns. */
  function makeOnce(job: Job): Promise<boolean> {
    const { name, own } = job.claim
    const one = `${job.object.key} ${name} ${own}`
    const made = underWay.get(one) ?? make(job).finally(() => underWay.delete(one))
    underWay.set(one, made)
    return made
  }

  /** What is there, noted as used if strangers had it made. */
  async function stored(object: Rendered, name: string, entry: Kept, made: Rendition): Promise<StoredRendition> {
    if (entry.used !== undefined && entry.used < dayOf(object.now))
      await repository
        .noteUse(object.id, name, entry)
        .catch((error) => log.warn({ err: error, id: object.id }, 'rendition: use not noted'))
    const { own } = object
    const originalName = `${object.originalName.replace(/\.[^.]*$/, '')}.${made.format}`
    return { key: entry.key, mimeType: `image/${made.format}`, originalName, own, made }
  }

  /** In place of what may not be made: the largest that is there. */
  async function instead(object: Rendered, rendition: Rendition): Promise<StoredRendition | null> {
    const largest = largestFor(rendition, object.renditions)
    return largest === undefined ? null : stored(object, nameOf(largest.made), largest.entry, largest.made)
  }

  return {
    /**
     * The rendition of an active picture that the viewer may see, made now if it is not there. Where strangers may not have
     * it made it is the largest that is there, or else the object itself, for its copy without metadata.
     * Throws Problem `link_required` where a stranger asks for more than a width, `media_type_unsupported` for what is no
     * picture, `image_unreadable`, `image_too_large` for an original that is more than the decoders may take,
     * `quota_exceeded` to its owner, or `overloaded`.
     */
    async rendition(id: string, viewer: Viewer, asked: Asked): Promise<StoredRendition | VisibleObject> {
      const { wish, accept } = asked
      const signed = viewer === 'link'
      const until = Date.now() + DEADLINE_MS
      for (;;) {
        const object = await repository.findRendered(id, viewer, version)
        if (object === null) return missing(viewer)
        if (!isPicture(object))
          throw new Problem('media_type_unsupported', `There are no renditions of ${object.mimeType}.`)
        const { own, userId } = object
        if (!own && !isForStrangers(wish)) throw linkRequired()
        const rendition = renditionOf(wish, object, { sizes: limits.renditionSizes, accept })
        const name = nameOf(rendition)
        const entry = object.renditions[name]
        if (isKept(entry)) return stored(object, name, entry, rendition)
        const refusal = refusalOf(object, name, groupOf({ kind: 'rendition' }))
        if (refusal !== undefined) throw refusal
        const place = placeFor(name, object, own)
        if (!own && (place === null || isSpent(object, name))) return (await instead(object, rendition)) ?? object
        const lesser = () => instead(object, rendition)
        if (place === null) return signed ? ((await lesser()) ?? Promise.reject(tooBusy())) : Promise.reject(noPlace())
        const key = `${renditionsPrefix(id)}${randomBytes(6).toString('hex')}.${rendition.format}`
        const claim = { id, userId, name, key, own, version }
        const party = own ? `owner:${userId}` : asked.party
        try {
          const making = makeOnce({ claim, ...place, object, rendition, party, until })
          // It goes on when it is late, for the next request.
          const made = await inTime(making, Math.max(0, until - Date.now()), () => Promise.reject(tooBusy()))
          // By another replica, perhaps, or for another size.
          if (!made) await sleep(POLL_MS)
        } catch (error) {
          // A link may be anybody's, and nobody but the owner is told of the quota.
          if (!signed || !isQuota(error)) throw error
          return (await lesser()) ?? Promise.reject(tooBusy())
        }
        if (Date.now() > until) throw tooBusy()
      }
    },
  }
}

/** Whether strangers have had as much made of a picture as they may, or this one was too much. */
function isSpent(object: Rendered, name: string): boolean {
  const refused = outcomeOf(object, forStrangers(name))
  const spent = object.strangerBytes >= Math.max(object.sizeBytes, LEAST_STRANGERS_BYTES)
  return spent || (refused !== undefined && refused.until > object.now)
}

/** The claim of a maker is not in force any more, or for nothing. */
class Lost extends Error {}

function tooBusy(): Problem {
  return new Problem('overloaded', 'The rendition is not ready yet. Try again.')
}

function tooLarge(): Problem {
  return new Problem('image_too_large', 'The rendition is too large to be stored.')
}

function noPlace(): Problem {
  return new Problem('quota_exceeded', `There may be ${MOST_RENDITIONS} renditions of a picture.`)
}

function overQuota(): Problem {
  return new Problem('quota_exceeded', 'There is no room for renditions: the quota of the owner is used up.')
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
