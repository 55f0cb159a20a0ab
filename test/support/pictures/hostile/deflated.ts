/** Zeros, deflated (RFC 1950), without having them in memory. */
import { constants, deflateRawSync } from 'node:zlib'
import { type Bytes, join, repeat, u32 } from '../picture-pieces.ts'

const BLOCK_BYTES = 16 * 1024 * 1024
const ADLER = 65_521

export function deflatedZeros(bytes: number): Bytes {
  const blocks = Math.floor(bytes / BLOCK_BYTES)
  // Ends on a whole byte, and refers to nothing before it: so it may be repeated.
  const flushed = { level: 9, finishFlush: constants.Z_FULL_FLUSH }
  const block = blocks > 0 ? deflateRawSync(new Uint8Array(BLOCK_BYTES), flushed) : new Uint8Array()
  const rest = deflateRawSync(new Uint8Array(bytes % BLOCK_BYTES), { level: 9 })
  return join([0x78, 0xda], repeat(blocks, block), rest, u32((bytes % ADLER) * 65_536 + 1))
}
