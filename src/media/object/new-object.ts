/** An object that is about to get its row. */
import type { Dimensions, Visibility } from './object.ts'

export type NewObject = {
  id: string
  /** When the id was made, Unix time in milliseconds. */
  madeAt: number
  userId: string
  originalName: string
  mimeType: string
  sizeBytes: number | null
  key: string
  visibility: Visibility
  metadata: Dimensions | Record<string, never>
  /** How long from now on anyone can still put bytes under the object's prefix. */
  linksSeconds: number
  idempotency: Idempotency | undefined
  /** The Upload-Metadata of a tus upload, as it was sent; absent for every other. */
  tusMetadata?: string
}

/** What makes a request the same as an earlier one: the client's key, and a SHA-256 of what it asked for. */
export type Idempotency = { key: string; hash: string }

/**
 * `stale`: no row was made, nor can one be any more. `taken`: the idempotency key is another row's. `over_quota`: the
 * owner would have more than the quotas allow.
 */
export type Inserted = 'inserted' | 'stale' | 'taken' | 'over_quota'
