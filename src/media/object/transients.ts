/** Keys that are not the object's yet, or not any more, as its row has them. */

/**
 * `transientKeys`: until when bytes can still arrive under each, in Unix seconds; negative where the key must not become
 * the object's any more. `asOf`: the database's time in Unix seconds, exact, hence text.
 */
export type Transients = { transientKeys: Record<string, number>; asOf: string }

/** Those under which nothing is the object's, nor will be. */
export function removable({ transientKeys, asOf }: Transients): string[] {
  return Object.entries(transientKeys).flatMap(([key, until]) => (until <= Number(asOf) ? [key] : []))
}
