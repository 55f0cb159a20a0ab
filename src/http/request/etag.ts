/** Conditional requests by ETag. */

/** Whether If-Match allows a request for this ETag (RFC 9110, section 13.1.1: strong comparison). */
export function isMatched(etag: string, ifMatch: string | null | undefined): boolean {
  if (ifMatch === null || ifMatch === undefined) return true
  return ifMatch.split(',').some((sent) => sent.trim() === '*' || sent.trim() === etag)
}

/**
 * Whether If-None-Match matches this ETag (RFC 9110, section 13.1.2: weak comparison). Unquoted tags match as well,
 * since some clients send them. Linear time, where a regular expression such as `\s*,\s*` is quadratic in a run of
 * spaces.
 */
export function isNamed(etag: string, ifNoneMatch: string | null | undefined): boolean {
  return (ifNoneMatch ?? '').split(',').some((sent) => {
    const tag = sent.trim()
    return tag === '*' || tag === etag || `"${tag}"` === etag || tag === `W/${etag}`
  })
}
