/** Dependencies of the use cases. */

import type { Log } from '../log.ts'
import type { Storage } from '../storage/storage.ts'
import type { TusStores } from '../storage/tus.ts'
import type { Inspect } from './bytes/inspect.ts'
import type { Decode } from './decoding/decode.ts'
import type { Quotas } from './object/quota.ts'
import type { Relay } from './outbox/relay.ts'
import type { PublicAccess } from './public-copies/access.ts'
import type { MakePublicCopy } from './public-copies/make.ts'
import type { Repository } from './table/repository.ts'

/** `Group`: the groups of statements that a use case needs. */
export type Deps<Group extends keyof Repository> = {
  repository: Pick<Repository, Group>
  storage: Storage
  tusStores: Pick<TusStores, 'open' | 'hasAll'>
  inspect: Inspect
  decode: Decode
  relay: Relay
  log: Log
  /** Unix time in milliseconds. */
  now: () => number
  publicAccess: PublicAccess
  makePublicCopy: MakePublicCopy
  limits: Limits
}

/** Sizes in bytes, times in seconds. */
export type Limits = {
  allowedTypes: ReadonlySet<string>
  maxUploadBytes: number
  maxObjectBytes: number
  /** Sides of renditions in pixels, ascending. */
  renditionSizes: readonly number[]
  signedUrlSeconds: number
  uploadUrlSeconds: number
  /** How long after an upload link upkeep first tries to complete the upload by itself; null: it never does. */
  autoCompleteSeconds: number | null
  quotas: Quotas
}
