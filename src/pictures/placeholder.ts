/** A picture's placeholder: its ThumbHash and dominant colour. */
import type { Sharp } from 'sharp'
import { rgbaToThumbHash } from 'thumbhash'
import type { Placeholder } from '../media/object/object.ts'

// In pixels. rgbaToThumbHash accepts up to 100, which costs ten times as much for the same result.
const LONGEST_SIDE = 64

/** @param picture upright */
export async function placeholderOf(picture: Sharp): Promise<Placeholder> {
  const { data, info } = await picture
    .resize(LONGEST_SIDE, LONGEST_SIDE, { fit: 'inside', withoutEnlargement: true })
    .toColourspace('srgb')
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  const thumbHash = Buffer.from(rgbaToThumbHash(info.width, info.height, data)).toString('base64')
  return { thumbHash, dominantColor: dominantColor(data) }
}

/** Sums over the pixels of a group: of alpha, and of alpha times each channel. */
type Group = [weight: number, red: number, green: number, blue: number]

/**
 * `#rrggbb`: the mean of the largest group of similar pixels, which share the first three bits of each channel.
 * Transparent pixels are ignored unless all are transparent.
 */
function dominantColor(rgba: Uint8Array): string {
  const groups = new Map<number, Group>()
  for (let at = 0; at < rgba.length; at += 4) {
    const red = rgba[at] ?? 0
    const green = rgba[at + 1] ?? 0
    const blue = rgba[at + 2] ?? 0
    const alpha = rgba[at + 3] ?? 0
    const like = ((red >> 5) << 6) | ((green >> 5) << 3) | (blue >> 5)
    const group: Group = groups.get(like) ?? [0, 0, 0, 0]
    groups.set(like, group)
    group[0] += alpha
    group[1] += alpha * red
    group[2] += alpha * green
    group[3] += alpha * blue
  }
  const [weight, ...sums] = [...groups.values()].reduce((most, group) => (group[0] > most[0] ? group : most))
  const mean = sums.map((sum) => Math.round(sum / Math.max(1, weight)))
  return `#${Buffer.from(mean).toString('hex')}`
}
