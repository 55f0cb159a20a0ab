/** Reads and cuts the chunks of a PNG (https://www.w3.org/TR/png-3/). */
import { crc32, deflateSync, inflateSync } from 'node:zlib'
import { createCut, fourCC, textAt, viewOf } from './bytes.ts'
import { checkFrames, countPieces, MAX_PROFILE_BYTES } from './limits.ts'
import { profileOf } from './profile.ts'

const SIGNATURE_BYTES = 8
// Length, type and checksum of a chunk.
const FRAME_BYTES = 12
const IDAT = fourCC('IDAT')
const FDAT = fourCC('fdAT')
const IEND = fourCC('IEND')
const ACTL = fourCC('acTL')
const ICCP = fourCC('iCCP')
const CICP = fourCC('cICP')
// Signature and IHDR.
const HEADER_BYTES = 33

const SIZE = typesOf('IHDR PLTE tRNS eXIf')
const STILL = typesOf('IHDR PLTE tRNS IDAT IEND gAMA cHRM sRGB cICP sBIT')
const ORIENTED = new Set([...STILL, ...typesOf('eXIf')])
const UNCOLOURED = typesOf('IHDR PLTE tRNS IDAT IEND sBIT eXIf')
const ANIMATED = new Set([...STILL, ...typesOf('acTL fcTL fdAT')])

/**
 * Reads the chunks before the pixels; undefined if the bytes end before. `essentials` is a picture of the same size and
 * orientation without the chunks that libpng decompresses before the pixels: 1 MiB of text or colour profiles can
 * become 1 GiB.
 */
export function readPng(bytes: Uint8Array): { essentials: Uint8Array; frames: number } | undefined {
  const view = viewOf(bytes)
  const cut = createCut(bytes)
  cut.keep(0, SIGNATURE_BYTES)
  let frames = 1
  let pixels = false
  walk(bytes, (type, at, end) => {
    if (type === ACTL && end <= bytes.length) frames = view.getUint32(at + 8)
    if (SIZE.has(type)) cut.keep(at, Math.min(end, bytes.length))
    // libpng reads no further for the header.
    if (type !== IDAT) return true
    pixels = true
    cut.keep(at, at + 8)
    return false
  })
  return pixels ? { essentials: cut.result(), frames } : undefined
}

/** @throws Problem `image_unreadable` for too many chunks, `image_too_large` for too many frames */
export function checkPng(bytes: Uint8Array): void {
  const view = viewOf(bytes)
  walk(bytes, (type, at, end) => {
    if (type === ACTL && end <= bytes.length) checkFrames(view.getUint32(at + 8))
    return true
  })
}

/** Whether it is a PNG of more than one frame, of which libvips 8.18 reads only the first. */
export function isAnimatedPng(bytes: Uint8Array): boolean {
  if (textAt(bytes, 1, 3) !== 'PNG') return false
  let animated = false
  walk(bytes, (type) => {
    animated = type === ACTL
    return !animated && type !== IDAT
  })
  return animated
}

/** A PNG with only the chunks of appearance and animation; its profile as in `cutPng`. */
export function pixelsOfPng(bytes: Uint8Array): Uint8Array {
  return only(bytes, ANIMATED)
}

/**
 * The first frame of a PNG for libpng: without text, and with a colour profile only if it decompresses to at most
 * `MAX_PROFILE_BYTES`, because libpng has no limit of its own. Code points of colour (cICP), which count more than a
 * profile, become the profile that they mean.
 */
export function cutPng(bytes: Uint8Array): Uint8Array {
  const profile = meantProfile(bytes)
  if (profile === undefined) return only(bytes, ORIENTED)
  const cut = only(bytes, UNCOLOURED, 0)
  return Buffer.concat([cut.subarray(0, HEADER_BYTES), profileChunk(profile), cut.subarray(HEADER_BYTES)])
}

/** For code points of RGB in full range, the only ones that the format allows. */
function meantProfile(bytes: Uint8Array): Uint8Array | undefined {
  let profile: Uint8Array | undefined
  walk(bytes, (type, at, end) => {
    if (type !== CICP) return type !== IDAT
    const [primaries = 0, transfer = 0, matrix, fullRange] = bytes.subarray(at + 8, end)
    if (end - at === FRAME_BYTES + 4 && matrix === 0 && fullRange === 1)
      profile = profileOf({ primaries, transfer, video: 'BT.1886' })
    return false
  })
  return profile
}

function profileChunk(profile: Uint8Array): Uint8Array {
  const body = Buffer.concat([Buffer.from('iCCPCICP\0\0', 'latin1'), deflateSync(profile)])
  const frame = Buffer.alloc(8)
  frame.writeUInt32BE(body.length - 4)
  frame.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)])
}

type Visit = (type: number, at: number, end: number) => boolean

/**
 * Calls `visit` with the type and offset of each chunk that begins in `bytes`, up to IEND or until it returns false.
 */
function walk(bytes: Uint8Array, visit: Visit): void {
  const view = viewOf(bytes)
  const count = countPieces(bytes.length)
  for (let at = SIGNATURE_BYTES; at + FRAME_BYTES <= bytes.length; ) {
    const end = at + FRAME_BYTES + view.getUint32(at)
    const type = view.getUint32(at + 4)
    if (type === IDAT || type === FDAT) count.pixelPiece()
    else count.piece()
    if (!visit(type, at, end) || type === IEND) return
    at = end
  }
}

function only(bytes: Uint8Array, types: ReadonlySet<number>, mostProfiles = 1): Uint8Array {
  const cut = createCut(bytes)
  cut.keep(0, SIGNATURE_BYTES)
  let profiles = 0
  walk(bytes, (type, at, end) => {
    if (type === ICCP) profiles += 1
    // The format allows one profile, and decompressing each one is costly.
    const isFirst = profiles === 1 && mostProfiles > 0
    const shown = type === ICCP ? isFirst && isSmallProfile(bytes.subarray(at + 8, end - 4)) : types.has(type)
    if (shown) cut.keep(at, Math.min(end, bytes.length))
    return true
  })
  return cut.result()
}

/** The data of an iCCP chunk: a name of up to 79 letters, a zero, the method, and the deflated profile. */
function isSmallProfile(data: Uint8Array): boolean {
  const name = data.subarray(0, 80).indexOf(0)
  if (name === -1) return false
  try {
    inflateSync(data.subarray(name + 2), { maxOutputLength: MAX_PROFILE_BYTES })
    return true
  } catch {
    // Broken or too large: the picture is decoded without its profile.
    return false
  }
}

function typesOf(types: string): ReadonlySet<number> {
  return new Set(types.split(' ').map(fourCC))
}
