/** The life of a media object, from the first byte to the last. */
import type { Deps } from './deps.ts'
import { createObjects } from './objects/objects.ts'
import { createOwners } from './objects/owners.ts'
import { createRenditions } from './renditions/renditions.ts'
import { createMultipart } from './uploads/multipart-uploads.ts'
import { createTusUploads } from './uploads/tus.ts'
import { createUploads } from './uploads/uploads.ts'

export type Media = ReturnType<typeof createMedia>

/**
 * All calls throw Problem `storage_unavailable` or `database_unavailable` where those fail; what they began is then
 * finished by upkeep.
 */
export function createMedia(deps: Deps) {
  return {
    ...createUploads(deps),
    ...createMultipart(deps),
    ...createTusUploads(deps),
    ...createObjects(deps),
    ...createOwners(deps),
    ...createRenditions(deps),
  }
}
