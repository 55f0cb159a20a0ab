/** Claims by path. */

/**
 * The value at a path such as `realm_access.roles`; undefined when there is none. Names may have dots in them, as
 * `https://example.com/roles` does: the longest name that is there is taken first.
 */
export function claimAt(claims: object, path: string): unknown {
  const own = new Map<string, unknown>(Object.entries(claims))
  for (let end = path.length; end > 0; end = path.lastIndexOf('.', end - 1)) {
    const value = own.get(path.slice(0, end))
    if (end === path.length && value !== undefined) return value
    if (typeof value !== 'object' || value === null || Array.isArray(value)) continue
    const deeper = claimAt(value, path.slice(end + 1))
    if (deeper !== undefined) return deeper
  }
  return undefined
}
