/** Reads the primary picture of a HEIC with libheif (libheif-js 1.23), in a decoder process only. */
import load, { type LibHeif } from 'libheif-js/libheif-wasm/libheif-bundle.mjs'

/** Pixels as red, green, blue and, where there is transparency, alpha; `stride`: bytes from one row to the next. */
export type Pixels = { bytes: Uint8Array; stride: number; width: number; height: number }

/** Pixels are valid until the next call of any of its functions. */
export type HeifFile = {
  /** Size of the picture as coded; the tiles of a grid, or the one picture. */
  width: number
  height: number
  tiles: { columns: number; rows: number; width: number; height: number }
  channels: 3 | 4
  profile(): Uint8Array | undefined
  /** Without crop, turn and mirroring. @throws libheif's error */
  decode(column: number, row: number): Pixels
  close(): void
}

/** The most memory that the library may keep from one picture to the next, in bytes. It gives none back. */
const MOST_KEPT_BYTES = 128 * 1024 * 1024

const ERROR_BYTES = 12
// The pointer to a result, or a `heif_image_tiling`.
const RESULT_BYTES = 96
// Enumerations of the C interface.
const RGB = 1
const INTERLEAVED_RGB = 10
const INTERLEAVED_RGBA = 11
const INTERLEAVED = 10
// Memory of libde265 and libheif for a picture of eight bits, measured.
const BYTES_PER_PIXEL = 7.6
const MOST_PROFILE_BYTES = 8 * 1024 * 1024

let library: LibHeif | undefined

/** Whether this process should do no other job, for the memory that libheif has taken. */
export function keepsMuch(): boolean {
  return (library?.HEAPU8.length ?? 0) > MOST_KEPT_BYTES
}

/** @throws libheif's error */
export function openHeif(bytes: Uint8Array): HeifFile {
  library ??= load({ print() {}, printErr() {} })
  const heif = library
  const error = heif._malloc(ERROR_BYTES)
  const result = heif._malloc(RESULT_BYTES)
  const options = heif._heif_decoding_options_alloc()
  // The second field of the options: `ignore_transformations`.
  heif.HEAPU8[options + 1] = 1
  const context = heif._heif_context_alloc()
  const file = copyOf(heif, bytes)
  /** Runs a function that takes where to write its error, and returns the first number of its result. */
  const call = (run: (error: number) => void) => {
    run(error)
    check(heif, error)
    return heif.HEAPU32[result >> 2] ?? 0
  }
  call((e) => heif._heif_context_read_from_memory_without_copy(e, context, file, bytes.length, 0))
  const handle = call((e) => heif._heif_context_get_primary_image_handle(e, context, result))
  call((e) => heif._heif_image_handle_get_image_tiling(e, handle, 0, result))
  const [, columns = 1, rows = 1, tileWidth = 0, tileHeight = 0, width = 0, height = 0] = heif.HEAPU32.slice(
    result >> 2,
    (result >> 2) + 7,
  )
  const channels = heif._heif_image_handle_has_alpha_channel(handle) === 0 ? 3 : 4
  // libheif leaves the transparency out of a tile.
  const tiled = channels === 3 && columns * rows > 1
  const chroma = channels === 3 ? INTERLEAVED_RGB : INTERLEAVED_RGBA
  const size = tiled ? { width: tileWidth, height: tileHeight } : { width, height }
  let decoded = 0
  const release = () => {
    if (decoded !== 0) heif._heif_image_release(decoded)
    decoded = 0
  }

  return {
    ...{ width, height, channels },
    tiles: tiled ? { columns, rows, ...size } : { columns: 1, rows: 1, ...size },
    profile: () => profileOf(heif, handle, call),
    decode(column, row) {
      release()
      if (column + row === 0) reserve(heif, Math.min(size.width * size.height, width * height))
      decoded = call((e) =>
        tiled
          ? heif._heif_image_handle_decode_image_tile(e, handle, result, RGB, chroma, options, column, row)
          : heif._heif_decode_image(e, handle, result, RGB, chroma, options),
      )
      return pixelsOf(heif, decoded, result)
    },
    close() {
      release()
      heif._heif_image_handle_release(handle)
      heif._heif_context_free(context)
      heif._heif_decoding_options_free(options)
      for (const pointer of [file, result, error]) heif._free(pointer)
    },
  }
}

function copyOf(heif: LibHeif, bytes: Uint8Array): number {
  const pointer = heif._malloc(bytes.length)
  if (pointer === 0) throw new Error('libheif: out of memory')
  heif.HEAPU8.set(bytes, pointer)
  return pointer
}

/**
 * Grows the memory of the library at once: JavaScriptCore copies all of it to grow it, which takes both sizes while it
 * lasts, at each of many steps.
 */
function reserve(heif: LibHeif, pixels: number): void {
  const pointer = heif._malloc(Math.ceil(pixels * BYTES_PER_PIXEL))
  if (pointer === 0) throw new Error('libheif: out of memory')
  heif._free(pointer)
}

/** Undefined for a picture without an ICC profile, or with one that is larger than any. */
function profileOf(
  heif: LibHeif,
  handle: number,
  call: (run: (error: number) => void) => number,
): Uint8Array | undefined {
  const length = heif._heif_image_handle_get_raw_color_profile_size(handle)
  if (length === 0 || length > MOST_PROFILE_BYTES) return undefined
  const pointer = heif._malloc(length)
  call((e) => heif._heif_image_handle_get_raw_color_profile(e, handle, pointer))
  const profile = heif.HEAPU8.slice(pointer, pointer + length)
  heif._free(pointer)
  return profile
}

function pixelsOf(heif: LibHeif, image: number, result: number): Pixels {
  const start = heif._heif_image_get_plane_readonly2(image, INTERLEAVED, result)
  const stride = heif.HEAPU32[result >> 2] ?? 0
  const width = heif._heif_image_get_width(image, INTERLEAVED)
  const height = heif._heif_image_get_height(image, INTERLEAVED)
  if (start === 0 || width <= 0 || height <= 0) throw new Error('libheif: it made no pixels')
  return { bytes: heif.HEAPU8.subarray(start, start + stride * height), stride, width, height }
}

/** A `heif_error` is a code, another one, and a pointer to a text that ends with a zero. */
function check(heif: LibHeif, error: number): void {
  const [code = 0, , text = 0] = heif.HEAPU32.subarray(error >> 2, (error >> 2) + 3)
  if (code === 0) return
  const end = heif.HEAPU8.indexOf(0, text)
  const said = new TextDecoder().decode(heif.HEAPU8.slice(text, end))
  // Its own limits on what a file claims are no lack of memory.
  throw new Error(`libheif: ${said.replace(/^Memory allocation error: (?=Security limit)/, '')}`)
}
