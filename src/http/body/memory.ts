/** How much of the bodies of direct uploads may be in memory at once: reserved before they are read. */
import { type Budget, createBudget } from '../../budget.ts'

/** `reserve` is given the bytes of a body, as announced, or the most it may have. */
export type UploadMemory = Budget

// What a body occupies while it is held: itself, the pieces it came in until they are collected, and, of a small one, a
// copy on its way to the store. Measured as the growth of the resident set over uploads at once, on Bun 1.4.5.
const BYTES_PER_BYTE = 2.5

/** @param limit in bytes */
export function createUploadMemory(limit: number): UploadMemory {
  const budget = createBudget(limit)
  return {
    ...budget,
    reserve: (caller, bytes, signal) => budget.reserve(caller, bytes * BYTES_PER_BYTE, signal),
  }
}
