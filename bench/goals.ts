/** What the service is to cost: ratios, because both sides are measured in one run on one machine. */
import type { Name } from './contestants.ts'
import type { Operation } from './workload.ts'

/**
 * The most CPU time that an operation may take, as a part of what `by` takes for `of`. `floor`: the goal takes for granted
 * what the service does not do, so this much passes: it writes the row before the bytes are in the store, so that a crash
 * leaves no bytes without a row, and sharp reads the dimensions, so that nothing is stored that it cannot open.
 */
export type Ratio = { name: Name; operation: Operation; of: Operation; by: Name; most: number; floor?: number }

export const ratios: Ratio[] = [
  { name: 'ours', operation: 'upload', of: 'upload', by: 'reference', most: 0.45, floor: 0.48 },
  { name: 'ours', operation: 'upload3m', of: 'upload3m', by: 'reference', most: 0.4 },
  { name: 'ours', operation: 'presign', of: 'presign', by: 'reference', most: 0.19 },
  { name: 'ours', operation: 'complete', of: 'upload', by: 'reference', most: 0.32, floor: 0.4 },
  { name: 'ours', operation: 'get', of: 'get', by: 'reference', most: 0.12 },
  { name: 'ours', operation: 'list', of: 'get', by: 'reference', most: 0.6 },
  { name: 'ours', operation: 'delete', of: 'delete', by: 'reference', most: 0.4 },
  { name: 'ours', operation: 'rendition', of: 'get', by: 'reference', most: 0.18 },
  { name: 'ours', operation: 'firstRendition', of: 'firstRendition', by: 'floor', most: 1.2 },
  { name: 'limited', operation: 'get', of: 'get', by: 'ours', most: 1.15 },
]

/** Uploads a second, as a part of the PUTs a second that the store takes by itself. */
export const LEAST_THROUGHPUT = 0.52
/** The least that passes, for the same reasons. */
export const FLOOR_THROUGHPUT = 0.48
/** CPU seconds of Postgres per 1,000 uploads. */
export const MOST_DATABASE_CPU = 0.65
/** A ratio at 64 connections, as a part of that at 16. */
export const MOST_WHEN_CROWDED = 1.1
export const MOST_READY_MS = 700
