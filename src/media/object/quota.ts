/** Quotas of an owner, and the problems they cause. */
import { INVALID_FIELDS, Problem } from '../../problem.ts'

/** The most that one owner may store, in bytes and objects; null is no limit. */
export type Quotas = { quotaBytes: number | null; quotaObjects: number | null }
export const NO_QUOTAS: Quotas = { quotaBytes: null, quotaObjects: null }

/** Whether every upload must declare its size before it begins. */
export function areLimited(quotas: Quotas): boolean {
  return Object.values(quotas).some((quota) => quota !== null)
}

/** Whether an owner with this usage may store that many more bytes. */
export function haveRoom(
  { quotaBytes, quotaObjects }: Quotas,
  has: { bytes: number; objects: number },
  moreBytes: number,
): boolean {
  const fitsBytes = quotaBytes === null || has.bytes + moreBytes <= quotaBytes
  return fitsBytes && (quotaObjects === null || has.objects <= quotaObjects)
}

/** Only purging frees space, after the retention time: an early retry is useless. */
export function overQuota(): Problem {
  return new Problem('quota_exceeded', 'This is more than you may store. Remove something first.', {
    retryAfterSeconds: 3600,
  })
}

/** @param reason default: quotas count declared sizes */
export function sizeRequired(reason = 'there are quotas'): Problem {
  return new Problem('request_invalid', INVALID_FIELDS, {
    arguments: [{ argument: 'size', message: `is required, because ${reason}` }],
  })
}
