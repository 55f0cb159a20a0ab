/** Reads jsonb columns, including those corrupted by versions before migration 0008. */

/**
 * Those versions encoded a JSON parameter twice when postgres.js repeated a statement (see `once` in connect.ts). They
 * stored a JSON string instead of an object or, where SQL merged that string with an object by `||`, an array of both.
 * Upkeep repairs such rows; until then this function returns the intended value. No valid column holds a bare string or
 * an array with strings in it.
 */
export function readJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  if (typeof value === 'string') return JSON.parse(value)
  if (!Array.isArray(value)) return value
  return value.some((item) => typeof item === 'string') ? merged(value) : value.map(withPayload)
}

function withPayload(event: unknown): unknown {
  if (typeof event !== 'object' || event === null || !('payload' in event) || !Array.isArray(event.payload))
    return event
  return { ...event, payload: merged(event.payload) }
}

function merged(pieces: unknown[]): object {
  return Object.assign({}, ...pieces.map((piece) => (typeof piece === 'string' ? JSON.parse(piece) : piece)))
}
