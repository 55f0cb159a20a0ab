/**
 * The limit on renditions of a picture, and which one is evicted. Renditions made for the owner or over a signed link
 * stay; those made for other viewers are a cache. Pure.
 */
import type { VisibleObject } from './object.ts'
import type { Remembered } from './outcomes.ts'
import { parseName, type Rendition } from './rendition.ts'

/** `by`: absent for renditions made for the owner, or over a signed link. */
type Common = { key: string; by?: 'stranger' }
/** `used`: the last day on which a non-owner's rendition was requested, as days since 1970. */
export type Kept = Common & { sizeBytes: number; used?: number }
/** A rendition that is being made; `until`: when the claim ends, Unix seconds. */
export type Claimed = Common & { until: number }
export type Entry = Kept | Claimed
export type Renditions = Record<string, Entry>

/** More renditions of one picture than any page requests. */
export const MOST_RENDITIONS = 100

/**
 * How many bytes of renditions non-owners may cause to be stored: as many as the original has, or this many if that is
 * more.
 */
export const LEAST_NON_OWNERS_BYTES = 4 * 1024 * 1024

const DAY_SECONDS = 86_400

export type Victim = { name: string; key: string }
/** The renditions on a row, at a time of the database, in Unix seconds. */
export type Places = { renditions: Renditions; now: number }
/**
 * An object that a viewer may see, with its renditions and its outcomes of decoding. `nonOwnersBytes`: the size of all
 * renditions that non-owners caused.
 */
export type Rendered = VisibleObject & Places & Remembered & { nonOwnersBytes: number }

export const isKept = (entry: Entry | undefined): entry is Kept => entry !== undefined && 'sizeBytes' in entry

export const dayOf = (now: number): number => Math.floor(now / DAY_SECONDS)

/**
 * The place for one more rendition, and which one is evicted for it; null if there is none. Expired claims go first,
 * then the non-owners' rendition that was unused for longest. A non-owner evicts nothing that was requested today, so
 * that a few of them cannot cause constant re-rendering.
 */
export function placeFor(name: string, { renditions, now }: Places, own: boolean): { victim: Victim | null } | null {
  const others = Object.entries(renditions).filter(([other]) => other !== name)
  if (others.length < MOST_RENDITIONS) return { victim: null }
  const today = dayOf(now)
  const lastUse = (entry: Entry) => (isKept(entry) ? (entry.used ?? 0) : entry.until < now ? -1 : today)
  const [first] = others
    .filter(([, entry]) => entry.by === 'stranger' || lastUse(entry) === -1)
    .filter(([, entry]) => own || lastUse(entry) < today)
    .sort(([, a], [, b]) => lastUse(a) - lastUse(b))
  return first === undefined ? null : { victim: { name: first[0], key: first[1].key } }
}

/**
 * The largest stored rendition of the whole picture, in the wanted format, or in JPEG or PNG, which every browser
 * shows.
 */
export function largestFor(
  { format }: Rendition,
  renditions: Renditions,
): { made: Rendition; entry: Kept } | undefined {
  const formats = new Set([format, 'jpeg', 'png'])
  const [largest] = Object.entries(renditions)
    .flatMap(([name, entry]) => {
      const made = parseName(name)
      const fits = made?.fit === 'inside' && formats.has(made.format)
      return fits && isKept(entry) ? [{ made, entry }] : []
    })
    .sort((a, b) => b.made.width - a.made.width)
  return largest
}
