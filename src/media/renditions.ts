/** Renditions of a picture: made when first asked for, kept beside the original, and gone with it. */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import type { Caller } from '../auth/auth.ts'
import { MAX_DECODED_BYTES } from '../pictures/limits.ts'
import { Problem } from '../problem.ts'
import { putDeadlineMs } from '../storage/storage.ts'
import type { Deps } from './lifecycle.ts'
import { dispositionOf, type Placeholder, renditionsPrefix, type VisibleObject } from './object.ts'
import { isPicture, nameOf, type Rendition, renditionOf, type Wish } from './rendition.ts'
import { MOST_RENDITIONS, type Rendered } from './rendition-statements.ts'
import { missing } from './visibility.ts'

/** How long one may take, with the waiting for its turn; beyond, the client is asked to come back. */
const DEADLINE_MS = 20_000
// The maker's own time, and that of the calls around it.
const LEASE_SECONDS = 60
const POLL_MS = 100

/** A rendition's bytes, with what a link to them needs of the object. */
export type StoredRendition = Pick<VisibleObject, 'key' | 'mimeType' | 'originalName' | 'own'> & { made: Rendition }

export function createRenditions(deps: Deps) {
  const { repository, storage, render, log, limits } = deps
  // Decoding takes memory and a core each.
  const places = pLimit(availableParallelism())
  const underWay = new Map<string, Promise<void>>()

  /** Reads the original, makes the rendition and stores it. Whatever fails leaves nothing but what upkeep sweeps. */
  async function make(object: Rendered, name: string, rendition: Rendition, until: number): Promise<void> {
    const { id, userId, sizeBytes } = object
    const key = `${renditionsPrefix(id)}${randomBytes(6).toString('hex')}.${rendition.format}`
    if (!(await repository.claimRendition(id, name, { key, leaseSeconds: LEASE_SECONDS }))) return
    try {
      const { bytes, placeholder } = await places(async () => {
        if (Date.now() > until) throw tooBusy()
        const original = await storage.read(object.key, { start: 0, length: sizeBytes })
        return render(original, object.mimeType, rendition, { placeholder: object.metadata.thumbHash === undefined })
      })
      if (putDeadlineMs(bytes.length) > LEASE_SECONDS * 1000) throw tooLarge()
      const contentType = `image/${rendition.format}`
      await storage.put(key, bytes, { contentType, disposition: dispositionOf(contentType) })
      const kept = await repository.keepRendition({ id, userId }, name, { key, sizeBytes: bytes.length })
      if (kept === 'kept') return await keepPlaceholder(id, placeholder)
      await storage.remove([key])
      if (kept === 'over_quota')
        throw new Problem('quota_exceeded', 'There is no room for renditions: the quota of the owner is used up.')
    } catch (error) {
      await giveUp(id, key)
      throw error
    }
  }

  /** A picture's first rendition shows what it is like; without one, upkeep looks at the original. */
  async function keepPlaceholder(id: string, placeholder: Placeholder | undefined): Promise<void> {
    if (placeholder === undefined) return
    try {
      await repository.keepPlaceholder(id, placeholder)
    } catch (error) {
      log.warn({ err: error, id }, 'rendition: placeholder left for upkeep')
    }
  }

  async function giveUp(id: string, key: string): Promise<void> {
    try {
      await repository.dropRendition(id, key)
    } catch (error) {
      log.warn({ err: error, id }, 'rendition: left for its lease to end')
    }
  }

  /** All who ask for the same one at the same time wait for one making of it. */
  function makeOnce(object: Rendered, name: string, rendition: Rendition, until: number): Promise<void> {
    const one = `${object.key} ${name}`
    const made = underWay.get(one) ?? make(object, name, rendition, until).finally(() => underWay.delete(one))
    underWay.set(one, made)
    return made
  }

  return {
    /**
     * The rendition of an active picture that the viewer may see, made now if it is not there.
     * Throws Problem `media_type_unsupported` for what is no picture, `image_unreadable`, `image_too_large` for an
     * original that is more than the service takes into memory, `quota_exceeded`, or `overloaded`.
     */
    async rendition(id: string, viewer: Caller | null, wish: Wish, accept: string): Promise<StoredRendition> {
      const until = Date.now() + DEADLINE_MS
      for (;;) {
        const object = await repository.findRendered(id, viewer)
        if (object === null) return missing(viewer)
        if (!isPicture(object))
          throw new Problem('media_type_unsupported', `There are no renditions of ${object.mimeType}.`)
        const rendition = renditionOf(wish, object, { sizes: limits.renditionSizes, accept })
        const name = nameOf(rendition)
        const entry = object.renditions[name]
        if (entry !== undefined && 'sizeBytes' in entry) {
          const { originalName, own } = object
          const { format } = rendition
          const name = `${originalName.replace(/\.[^.]*$/, '')}.${format}`
          return { key: entry.key, mimeType: `image/${format}`, originalName: name, own, made: rendition }
        }
        if (object.sizeBytes > MAX_DECODED_BYTES) throw tooLarge()
        if (entry === undefined && Object.keys(object.renditions).length >= MOST_RENDITIONS)
          throw new Problem('quota_exceeded', `There may be ${MOST_RENDITIONS} renditions of a picture.`)
        await inTime(makeOnce(object, name, rendition, until), until)
        // Made by another replica, perhaps, or not yet.
        if (entry !== undefined) await sleep(POLL_MS)
        if (Date.now() > until) throw tooBusy()
      }
    },
  }
}

/** Rejects at `until`; the work goes on, for whoever asks next. */
async function inTime(work: Promise<void>, until: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooBusy()), Math.max(0, until - Date.now()))
  })
  work.catch(() => {})
  await Promise.race([work, late]).finally(() => clearTimeout(timer))
}

function tooBusy(): Problem {
  return new Problem('overloaded', 'The rendition is not ready yet. Try again.')
}

function tooLarge(): Problem {
  return new Problem('image_too_large', 'The file is too large to make renditions of it.')
}
