/** In CI nothing that a test needs may be missing; at home such tests are skipped, and say so. */
export function inCi(): boolean {
  return (process.env.CI ?? '') !== '' && process.env.CI !== 'false'
}
