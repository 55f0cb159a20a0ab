/**
 * How many renditions a picture may have, and which one gives way. What its owner or a signed link had made stays; what
 * strangers had made is a cache. Pure.
 */
import { parseName, type Rendition } from './rendition.ts'

/** `by`: absent for the owner, and for holders of signed links. */
type Common = { key: string; by?: 'stranger' }
/** `used`: the last day on which a stranger's was asked for, as days since 1970. */
export type Kept = Common & { sizeBytes: number; used?: number }
/** Being made until a time in Unix seconds. */
export type Claimed = Common & { until: number }
export type Entry = Kept | Claimed
export type Renditions = Record<string, Entry>

/** More of one picture than any page asks for. */
export const MOST_RENDITIONS = 100

/** What strangers may have made of a picture: as many bytes as the original has, or this many if that is more. */
export const LEAST_STRANGERS_BYTES = 4 * 1024 * 1024

const DAY_SECONDS = 86_400

export type Victim = { name: string; key: string }
/** What a row says at a time of the database, in Unix seconds. */
export type Places = { renditions: Renditions; now: number }

export const isKept = (entry: Entry | undefined): entry is Kept => entry !== undefined && 'sizeBytes' in entry

export const dayOf = (now: number): number => Math.floor(now / DAY_SECONDS)

/**
 * Whether there is a place for one more, and which one has to go for it. Claims of makers that died go first, then what
 * no stranger has asked for longest. A stranger takes no place of what was asked for today, so that a few of them cannot
 * have everything made anew all the time.
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

/** The largest that is there of the whole picture, in the wanted format or one that every browser shows. */
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
