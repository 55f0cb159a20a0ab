/** The error for an object that the viewer cannot see, whether it is missing, deleted or foreign. */
import { notFound, Problem } from '../../problem.ts'
import type { Viewer } from './viewer.ts'

/** @throws 401 to an anonymous caller and 404 to every other viewer, for foreign, deleted and unknown objects alike */
export function missing(viewer: Viewer): never {
  if (viewer === null) throw new Problem('token_missing', 'Authenticate to see whether there is something here.')
  throw notFound()
}
