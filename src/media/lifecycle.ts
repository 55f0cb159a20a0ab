/** The life of a media object, from the first byte to the last. */
import type { Log } from '../log.ts'
import type { Storage } from '../storage/storage.ts'
import type { Decode } from './decoding.ts'
import type { Inspect } from './inspect.ts'
import { createMultipart } from './multipart.ts'
import type { Quotas } from './object.ts'
import { createObjects } from './objects.ts'
import { createOwners } from './owners.ts'
import type { Publicity } from './publicity.ts'
import type { Publish } from './publish.ts'
import type { Relay } from './relay.ts'
import { createRenditions } from './renditions.ts'
import type { Repository } from './repository.ts'
import { createTusUploads } from './tus.ts'
import { createUploads } from './uploads.ts'

export type Deps = {
  repository: Repository
  storage: Storage
  inspect: Inspect
  decode: Decode
  relay: Relay
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  publicity: Publicity
  publish: Publish
  limits: {
    allowedTypes: ReadonlySet<string>
    maxUploadBytes: number
    maxObjectBytes: number
    /** Sides of renditions in pixels, ascending. */
    renditionSizes: readonly number[]
    signedUrlSeconds: number
    uploadUrlSeconds: number
    quotas: Quotas
  }
}

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
