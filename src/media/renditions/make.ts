/** Makes renditions: claims a place on the row, runs the decoder, stores the result. */

import { Problem } from '../../problem.ts'
import { putDeadlineMs } from '../../storage/storage.ts'
import type { Deps } from '../deps.ts'
import { dispositionOf } from '../object/object.ts'
import { forOwner, outcomeOf } from '../object/outcomes.ts'
import type { Rendered, Victim } from '../object/places.ts'
import { areLimited, haveRoom } from '../object/quota.ts'
import type { Rendition } from '../object/rendition.ts'
import type { Claim } from '../table/renditions.ts'

// The longest that a dead maker delays others.
const LEASE_SECONDS = 60
const RENEWAL_MS = 20_000

/** `victim`: the rendition to evict. `until`: Unix time in milliseconds. */
export type Job = {
  claim: Claim
  victim: Victim | null
  object: Rendered
  rendition: Rendition
  party: string
  until: number
}

type Making = Pick<Deps<'renditions' | 'outcomes' | 'owners'>, 'repository' | 'storage' | 'decode' | 'log' | 'limits'>

/**
 * Concurrent requests for one rendition share one render. Non-owners never share the owner's, whose failure may tell
 * what only the owner may know.
 */
export function createMaker(deps: Making): (job: Job) => Promise<boolean> {
  const underWay = new Map<string, Promise<boolean>>()
  return function makeOnce(job) {
    const { name, own } = job.claim
    const one = `${job.object.key} ${name} ${own}`
    const made = underWay.get(one) ?? make(deps, job).finally(() => underWay.delete(one))
    underWay.set(one, made)
    return made
  }
}

/**
 * Reads the original, makes the rendition and stores it. A failure leaves nothing but bytes that upkeep sweeps. False
 * when another maker has it, or the row has changed.
 */
async function make(deps: Making, job: Job): Promise<boolean> {
  const { repository, limits } = deps
  const { claim, victim } = job
  if (!(await mayFit(deps, job))) throw overQuota()
  const life = { leaseSeconds: LEASE_SECONDS, linksSeconds: limits.signedUrlSeconds }
  if (!(await repository.renditions.claim(claim, { victim, ...life }))) return false
  try {
    await makeClaimed(deps, job)
    return true
  } catch (error) {
    await giveUp(deps, claim)
    if (error instanceof Lost) return false
    throw error
  }
}

/**
 * False when the owner's quota has no room for it, so that nothing is decoded in vain: not even for a byte, or not for
 * as many as it had when it was made before.
 */
async function mayFit({ repository, limits: { quotas } }: Making, { claim, object }: Job): Promise<boolean> {
  if (!claim.own || !areLimited(quotas)) return true
  const leastBytes = outcomeOf(object, forOwner(claim.name))?.sizeBytes ?? 1
  return haveRoom(quotas, await repository.owners.usage(claim.userId), leastBytes)
}

async function makeClaimed(deps: Making, { claim, object, rendition, party, until }: Job): Promise<void> {
  const { repository, storage, decode } = deps
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
  const { bytes, placeholder } = await holding(deps, claim, () => decode(object, task, { party, until }))
  // The picture has another size, which its row says by now.
  if (bytes === undefined) throw new Lost()
  if (putDeadlineMs(bytes.length) > LEASE_SECONDS * 1000) throw await tooLarge(deps, claim, object)
  const contentType = `image/${rendition.format}`
  await storage.put(key, bytes, { contentType, disposition: dispositionOf(contentType) })
  const kept = await repository.renditions.keep(claim, { sizeBytes: bytes.length, placeholder })
  if (kept === 'kept') return
  await storage.remove([key])
  if (kept === 'over_quota' && claim.own) throw overQuota()
}

/** Renews a claim while `work` runs. */
async function holding<T>({ repository, log }: Making, claim: Claim, work: () => Promise<T>): Promise<T> {
  const renew = () =>
    repository.renditions
      .renew(claim, LEASE_SECONDS)
      .catch((error) => log.warn({ err: error, id: claim.id }, 'rendition: claim not renewed'))
  const timer = setInterval(renew, RENEWAL_MS)
  try {
    return await work()
  } finally {
    clearInterval(timer)
  }
}

async function giveUp({ repository, log }: Making, { id, key }: Claim): Promise<void> {
  try {
    await repository.renditions.drop(id, key)
  } catch (error) {
    log.warn({ err: error, id }, 'rendition: left for its lease to end')
  }
}

/** The maker's claim no longer holds, or is of no use any more. */
class Lost extends Error {}

/** Remembers on the row that a rendition is too large, so that it is not decoded again by every request. */
async function tooLarge({ repository }: Making, { id, name, version }: Claim, { key }: Rendered): Promise<Problem> {
  const code = 'image_too_large'
  // The same decoders make as many bytes again, so there is no retry.
  await repository.outcomes.note({ id, source: key, task: name, version, code, final: true })
  return new Problem(code, 'The rendition is too large to be stored.')
}

function overQuota(): Problem {
  return new Problem('quota_exceeded', 'There is no room for renditions: the quota of the owner is used up.')
}
