/** The reader of an object, for whom ownership is decided in the WHERE of each statement. */
import type { Caller } from '../../auth/caller.ts'

/** A known caller, the holder of a link to the object that the service signed, or null for a stranger. */
export type Viewer = Caller | 'link' | null
