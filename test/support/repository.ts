import { join } from 'node:path'

/** The folder that has README.md and package.json. */
export const repository = join(import.meta.dir, '..', '..')
