/** One figure of `bun run bench:memory`. */
export type Figure = {
  name: string
  /** What it may take at most, in MB (10⁶ bytes). */
  mostMb: number
  /** Runs a service of its own under that load, and perhaps the reference. `note`: what else is worth knowing. */
  measure(): Promise<{ bytes: number; referenceBytes?: number; note?: string }>
}
