/** A picture's placeholder: its ThumbHash and dominant colour. */
import type { Sharp } from 'sharp'
import { rgbaToThumbHash } from 'thumbhash'
import type { Placeholder } from '../media/object/object.ts'

// In pixels. A hash has at most seven waves a side; up to 100 pixels, which it accepts, hardly change it and cost more.
const LONGEST_SIDE = 24
// At most 9 of the pixels that one stands for: more hardly change the hash, either.
const SAMPLES_A_SIDE = 3

/** Eight bits per channel: red, green, blue, and alpha if there are four. */
export type Pixels = { data: Uint8Array; width: number; height: number; channels: number }

/** @param picture upright */
export async function placeholderOf(picture: Sharp): Promise<Placeholder> {
  const { data, info } = await picture
    .resize(LONGEST_SIDE, LONGEST_SIDE, { fit: 'inside', withoutEnlargement: true })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  return placeholderOfPixels({ data, ...info })
}

/** Not by sharp (0.35), which takes 2 ms of CPU for whatever it does. */
export function placeholderOfPixels(pixels: Pixels): Placeholder {
  const { data, width, height } = shrink(pixels)
  const thumbHash = Buffer.from(rgbaToThumbHash(width, height, data)).toString('base64')
  return { thumbHash, dominantColor: dominantColor(data) }
}

/** RGBA of at most `LONGEST_SIDE` pixels a side, each of them the mean of some pixels spread evenly over its part. */
function shrink({ data, width, height, channels }: Pixels): { data: Uint8Array; width: number; height: number } {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height))
  const columns = samplesOf(width, scale)
  const rows = samplesOf(height, scale)
  const rgba = new Uint8Array(columns.length * rows.length * 4)
  let to = 0
  for (const ys of rows) {
    for (const xs of columns) {
      let [red, green, blue, weight] = [0, 0, 0, 0]
      for (const y of ys) {
        for (const x of xs) {
          const at = (y * width + x) * channels
          // Transparent pixels add no colour.
          const alpha = channels > 3 ? (data[at + 3] ?? 0) : 255
          red += alpha * (data[at] ?? 0)
          green += alpha * (data[at + 1] ?? 0)
          blue += alpha * (data[at + 2] ?? 0)
          weight += alpha
        }
      }
      const whole = Math.max(1, weight)
      rgba[to++] = Math.round(red / whole)
      rgba[to++] = Math.round(green / whole)
      rgba[to++] = Math.round(blue / whole)
      rgba[to++] = Math.round(weight / (xs.length * ys.length))
    }
  }
  return { data: rgba, width: columns.length, height: rows.length }
}

/** For each pixel of the shrunk side, the positions that are looked at. */
function samplesOf(side: number, scale: number): number[][] {
  const shrunk = Math.max(1, Math.round(side * scale))
  const part = side / shrunk
  const count = Math.min(SAMPLES_A_SIDE, Math.ceil(part))
  return Array.from({ length: shrunk }, (_, at) =>
    Array.from({ length: count }, (_, i) => Math.floor((at + (i + 0.5) / count) * part)),
  )
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
