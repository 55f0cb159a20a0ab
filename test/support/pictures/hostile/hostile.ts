/**
 * Pictures that cost a decoder more than they weigh: those that an audit attacked the service with, and relatives of them
 * from a seed.
 */
import fc from 'fast-check'
import { anyAvif, avifs } from './avif.ts'
import { anyGif, gifs } from './gif.ts'
import { anyHeic, heics } from './heic.ts'
import { anyJpeg, jpegs } from './jpeg.ts'
import type { Hostile } from './kind.ts'
import { anyPng, pngs } from './png.ts'
import { anyTiff, tiffs } from './tiff.ts'
import { anyWebp, webps } from './webp.ts'

/** Each of them costs, or did cost, memory or time out of all proportion. */
export function hostilePictures(): Hostile[] {
  return [...avifs(), ...heics(), ...pngs(), ...gifs(), ...jpegs(), ...webps(), ...tiffs()]
}

/** Others of their kinds; the same ones for the same seed. TIFF is among them only where it is asked for. */
export function relatives(seed: number, count: number, { tiff = false } = {}): Hostile[] {
  const kinds = [anyAvif, anyHeic, anyPng, anyGif, anyJpeg, anyWebp, ...(tiff ? [anyTiff] : [])]
  return fc.sample(fc.oneof(...kinds.map((kind) => kind())), { seed, numRuns: count })
}
