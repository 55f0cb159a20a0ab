/** Transient keys: keys on an object's row that are not yet, or no longer, its own. */

/**
 * `transientKeys`: for each key, until when bytes can still arrive under it, in Unix seconds; negative if the key must
 * not become the object's any more. `asOf`: the database's time in Unix seconds, as text to be exact.
 */
export type Transients = { transientKeys: Record<string, number>; asOf: string }

/** The keys whose bytes may be removed: the keys are not the object's, and will not be. */
export function removable({ transientKeys, asOf }: Transients): string[] {
  return Object.entries(transientKeys).flatMap(([key, until]) => (until <= Number(asOf) ? [key] : []))
}
