import type { ProblemCode } from '../../../../src/problem.ts'
import type { Bytes } from '../picture-pieces.ts'

/** A picture that costs more than it weighs, and where it's refused. */
export type Hostile = {
  name: string
  mimeType: string
  /** Up to 64 MiB; takes a second at most. */
  make: () => Bytes
  /** The code with which its first 1 MiB is refused; undefined where it is stored. */
  door: ProblemCode | undefined
  /** The code with which all of it is refused before it is decoded; undefined where the decoder's limits have to hold. */
  structure: ProblemCode | undefined
}

/** As much as an honest picture may have of pieces; see src/pictures/limits.ts. */
export const MOST_PIECES = 20_000
export const MiB = 1024 * 1024
