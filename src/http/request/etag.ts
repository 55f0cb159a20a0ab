/** Conditional requests by ETag. */

/**
 * Whether If-None-Match names this ETag, or any (RFC 9110, section 13.1.2: a weak one is as good); tags without quotes
 * count, as some clients send them. Linear, where an expression such as `\s*,\s*` takes the square of a run of spaces.
 */
export function isNamed(etag: string, ifNoneMatch: string | null | undefined): boolean {
  return (ifNoneMatch ?? '').split(',').some((sent) => {
    const tag = sent.trim()
    return tag === '*' || tag === etag || `"${tag}"` === etag || tag === `W/${etag}`
  })
}
