/** The reader of an object; each statement decides ownership in its WHERE. */
import type { Caller } from '../../auth/caller.ts'

/** A known caller, the holder of a link to the object that the service signed, or null for an anonymous caller. */
export type Viewer = Caller | 'link' | null
