/** The one answer to who asks for what is not there for them. */
import { notFound, Problem } from '../../problem.ts'
import type { Viewer } from './viewer.ts'

/** Foreign, deleted and unknown look the same: 404 to whoever is known, 401 to whoever is not. */
export function missing(viewer: Viewer): never {
  if (viewer === null) throw new Problem('token_missing', 'Authenticate to see whether there is something here.')
  throw notFound()
}
