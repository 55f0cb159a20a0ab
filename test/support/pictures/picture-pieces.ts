/** Bytes of pictures, put together by hand. */
import { crc32 } from 'node:zlib'

export type Bytes = Uint8Array<ArrayBuffer>
export type Piece = string | readonly number[] | Uint8Array

export function join(...pieces: Piece[]): Bytes {
  return new Uint8Array(
    Buffer.concat(
      pieces.map((piece) =>
        typeof piece === 'string'
          ? Buffer.from(piece, 'latin1')
          : piece instanceof Uint8Array
            ? piece
            : Uint8Array.from(piece),
      ),
    ),
  )
}

export function repeat(times: number, ...pieces: Piece[]): Bytes {
  const one = join(...pieces)
  return new Uint8Array(Buffer.alloc(one.length * times, one))
}

export const u16 = (n: number) => [n >>> 8, n & 255]
export const u32 = (n: number) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]
export const little16 = (n: number) => u16(n).reverse()
export const little24 = (n: number) => u32(n).reverse().slice(0, 3)
export const little32 = (n: number) => u32(n).reverse()

/** Of a PNG. */
export function chunk(type: string, ...data: Piece[]): Bytes {
  const body = join(type, ...data)
  return join(u32(body.length - 4), body, u32(crc32(body)))
}

/** Of a WebP. */
export function riffChunk(type: string, ...data: Piece[]): Bytes {
  const body = join(...data)
  return join(type, little32(body.length), body, body.length % 2 ? [0] : [])
}

/** Of a JPEG. */
export function segment(marker: number, ...data: Piece[]): Bytes {
  const body = join(...data)
  return join([0xff, marker], u16(body.length + 2), body)
}

/** Of an AVIF. */
export function box(type: string, ...data: Piece[]): Bytes {
  const body = join(...data)
  return join(u32(body.length + 8), type, body)
}

export const fullBox = (type: string, version: number, flags: number, ...data: Piece[]) =>
  box(type, [version, 0, 0, flags], ...data)
