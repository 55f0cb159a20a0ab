import { Problem } from '../problem.ts'

/** What any store that fails is answered with. */
export function unavailable(cause: unknown): Problem {
  return new Problem('storage_unavailable', 'The store did not answer as it should. Try again.', { cause })
}
