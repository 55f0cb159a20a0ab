/** The life of a media object, from the first byte to the last. */
import type { Log } from '../log.ts'
import type { Storage } from '../storage/storage.ts'
import type { Decode } from './decoding/decode.ts'
import type { Quotas } from './object/object.ts'
import { createObjects } from './objects/objects.ts'
import { createOwners } from './objects/owners.ts'
import type { Relay } from './outbox/relay.ts'
import type { Publicity } from './public-copies/address.ts'
import type { Publish } from './public-copies/publish.ts'
import { createRenditions } from './renditions/renditions.ts'
import type { Repository } from './table/repository.ts'
import type { Inspect } from './uploads/inspect.ts'
import { createMultipart } from './uploads/multipart-uploads.ts'
import { createTusUploads } from './uploads/tus.ts'
import { createUploads } from './uploads/uploads.ts'

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
