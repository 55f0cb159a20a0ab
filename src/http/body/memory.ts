/** The memory budget for bodies of direct uploads, reserved before a body is read. */
import { type Budget, createBudget } from '../../budget.ts'

/** `reserve` takes the announced body length, or the maximum length when none is announced. */
export type UploadMemory = Budget

// Memory held per byte of a body: the buffer, the chunks it came in until they are collected, and, for a small body, a
// copy on its way to the store. Measured as growth of the resident set during concurrent uploads, on Bun 1.4.5.
const BYTES_PER_BYTE = 2.5

/** @param limit in bytes */
export function createUploadMemory(limit: number): UploadMemory {
  const budget = createBudget(limit)
  return {
    ...budget,
    reserve: (caller, bytes, signalOf) => budget.reserve(caller, bytes * BYTES_PER_BYTE, signalOf),
  }
}
