import { Problem } from '../problem.ts'

/** The problem for any failure of a store. */
export function unavailable(cause: unknown): Problem {
  return new Problem('storage_unavailable', 'The store did not answer as it should. Try again.', { cause })
}
