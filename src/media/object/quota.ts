/** What one owner may have, and what is said when that is used up. */
import { INVALID_FIELDS, Problem } from '../../problem.ts'

/** What one owner may have, in bytes and objects; null is no limit. */
export type Quotas = { quotaBytes: number | null; quotaObjects: number | null }
export const NO_QUOTAS: Quotas = { quotaBytes: null, quotaObjects: null }

/** Whether every upload has to say its size before it begins. */
export function areLimited(quotas: Quotas): boolean {
  return Object.values(quotas).some((quota) => quota !== null)
}

/** Whether an owner who has so much may have so many more bytes. */
export function haveRoom(
  { quotaBytes, quotaObjects }: Quotas,
  has: { bytes: number; objects: number },
  moreBytes: number,
): boolean {
  const fitsBytes = quotaBytes === null || has.bytes + moreBytes <= quotaBytes
  return fitsBytes && (quotaObjects === null || has.objects <= quotaObjects)
}

/** Space comes back when something is purged, which takes the retention time: retrying soon is of no use. */
export function overQuota(): Problem {
  return new Problem('quota_exceeded', 'This is more than you may store. Remove something first.', {
    retryAfterSeconds: 3600,
  })
}

/** Quotas count what is declared, so it has to be. */
export function sizeRequired(): Problem {
  return new Problem('request_invalid', INVALID_FIELDS, {
    arguments: [{ argument: 'size', message: 'is required, because there are quotas' }],
  })
}
