/**
 * The domain: the life of a media object, from the first byte to the last.
 *
 *             direct | presign | multipart | tus            bytes are there              remove
 *   (nothing) ─────────────────────────────────▶ pending ──────────────────▶ active ◀───────────▶ deleted
 *                                                   │                                 restore        │
 *                                                   │ expired | refused | abort           retention  │
 *                                                   │                                  over | erase  │
 *                                                   └──────────────────▶ purging ◀───────────────────┘
 *                                                                           │ bytes gone, nothing owed, every link dead
 *                                                                           ▼
 *                                                                       (nothing)
 *
 * Erasing moves active objects to purging, too. Each arrow is one conditional statement in `table/`, which has the
 * event in the same statement: the row is its own outbox. Nothing leaves purging but the end.
 */

import type { Caller } from '../auth/caller.ts'
import type { UploadRecords } from '../storage/tus.ts'
import type { ReadLink } from './bytes/links.ts'
import { createMoves } from './bytes/rekey.ts'
import type { Deps } from './deps.ts'
import type { Addressed, VisibleObject } from './object/object.ts'
import type { Quotas } from './object/quota.ts'
import type { Viewer } from './object/viewer.ts'
import { type Locating, locate, sign } from './objects/links.ts'
import { type Change, get, list, listByIds, remove, restore, update } from './objects/objects.ts'
import { type Erasure, erase, usage } from './objects/owners.ts'
import { type Asked, createRenditions, type StoredRendition } from './renditions/renditions.ts'
import type { UploadRow } from './table/multipart-uploads.ts'
import type { Page } from './table/objects.ts'
import type { Usage } from './table/owners.ts'
import type { TusUpload } from './table/tus.ts'
import { complete } from './uploads/complete.ts'
import { type Upload, uploadDirectly } from './uploads/direct.ts'
import {
  type ArrivedParts,
  abort,
  arrivedParts,
  beginMultipart,
  findMultipart,
  type MultipartDeclaration,
  type MultipartUpload,
} from './uploads/multipart-uploads.ts'
import { linkPart, linkParts, type PartLink, type UppyPart } from './uploads/part-links.ts'
import { type Declaration, presign, type UploadLink } from './uploads/presigned.ts'
import { createTusUploads, type TusDeclaration, type TusLeases } from './uploads/tus.ts'

/**
 * All verbs throw Problem `storage_unavailable` or `database_unavailable` where those fail; what they began is then
 * finished by upkeep.
 */
export interface Media {
  uploads: Uploads
  objects: Objects
  renditions: Renditions
  owners: Owners
}

/** From the first byte to an active object. */
interface Uploads {
  /**
   * Stores a file that is here in full. Bytes and pending row are written in parallel; only when both are there does
   * one UPDATE make the object visible and owe its event. With an idempotency key, a retry gets the first answer.
   * Throws what `Inspect` throws, and Problem `file_empty`, `quota_exceeded`, `idempotency_conflict`, or
   * `state_conflict` while the first request is at work. Source: `uploads/direct.ts`.
   */
  direct(caller: Caller, upload: Upload): Promise<Addressed>
  /**
   * Makes a pending object, and a link for one PUT of its bytes to the store; with an idempotency key, again for the
   * same object while it is pending. Throws Problem `media_type_unsupported`, `file_too_large`, `quota_exceeded`,
   * `checksum_unenforceable`, `idempotency_conflict`, `state_conflict` with the id of the object that this key made, or
   * `request_invalid` without a size where there are quotas. Source: `uploads/presigned.ts`.
   */
  presign(caller: Caller, declared: Declaration): Promise<UploadLink>
  /**
   * Makes a pending object and begins its multipart upload; with an idempotency key, the same one again while it is
   * pending. Throws Problem `media_type_unsupported`, `file_too_large`, `quota_exceeded`, `idempotency_conflict`,
   * `checksum_unenforceable` (S3 has no SHA-256 of a whole object that came in parts), or `state_conflict`: with the id
   * of the object that this key made, or where the store has no multipart uploads. Source:
   * `uploads/multipart-uploads.ts`.
   */
  beginMultipart(caller: Caller, declared: MultipartDeclaration): Promise<MultipartUpload>
  /**
   * The caller's multipart upload, under way or complete. Throws Problem `not_found` or `state_conflict`. Source:
   * `uploads/multipart-uploads.ts`.
   */
  findMultipart(id: string, caller: Caller): Promise<UploadRow & { status: 'pending' | 'active' }>
  /**
   * A link for each part, good for UPLOAD_URL_SECONDS, that takes exactly the bytes this part has by `partSizeOf`.
   * Throws Problem `not_found`, `state_conflict`, or `request_invalid` for a number that the file has no part for.
   * Source: `uploads/part-links.ts`.
   */
  linkParts(id: string, caller: Caller, partNumbers: number[]): Promise<{ links: PartLink[]; expiresAt: Date }>
  /** A link for one part as Uppy divides the file. Throws the same as `linkParts`. Source: `uploads/part-links.ts`. */
  linkPart(id: string, caller: Caller, part: UppyPart): Promise<string>
  /**
   * What the store has of a multipart upload. Throws Problem `not_found`, `state_conflict`, or `upload_incomplete`
   * when the store has dropped the upload. Source: `uploads/multipart-uploads.ts`.
   */
  arrivedParts(id: string, caller: Caller): Promise<ArrivedParts>
  /**
   * pending → active, if the stored bytes are what was declared. Idempotent. Throws Problem `not_found`,
   * `upload_incomplete` or `overloaded`; or one of kind `refused-bytes`, with the object gone for good: what a direct
   * upload of these bytes would throw, `type_mismatch` or `size_mismatch`. Source: `uploads/complete.ts`.
   */
  complete(id: string, caller: Caller): Promise<Addressed>
  /**
   * pending → purging, and the bytes are removed. Throws Problem `not_found`, or `state_conflict` when the upload is
   * complete. Source: `uploads/multipart-uploads.ts`.
   */
  abort(id: string, caller: Caller): Promise<void>
  tus: TusUploads
}

/** Uploads whose bytes come through the service in any number of requests. Source: `uploads/tus.ts`. */
interface TusUploads {
  /** Whether a client may say later how long its upload is: not where there are quotas, which count what is said. */
  deferrable: boolean
  /**
   * Makes a pending object. Throws Problem `media_type_unsupported`, `file_empty`, `file_too_large`, `quota_exceeded`,
   * or `request_invalid` without a size where that can't come later.
   */
  begin(caller: Caller, declared: TusDeclaration): Promise<{ id: string; key: string }>
  /** The caller's tus upload, under way or become an object; null for anything else. */
  find(id: string, caller: Caller): Promise<TusUpload | null>
  /** What the stores of tus uploads remember. */
  records: UploadRecords
  /** See `LeaseLocker`. */
  leases: TusLeases
  /** Removes what lies beside an upload that has become an object, now or with the sweep. Never fails. */
  removePieces(key: string): Promise<void>
}

/** Objects that are active or in the bin. Source: `objects/objects.ts`; of links: `objects/links.ts`. */
interface Objects {
  /** An active object that the viewer may see. Throws Problem `not_found`, or `token_missing` to a stranger. */
  get(id: string, viewer: Viewer): Promise<Addressed<VisibleObject>>
  /** A page of the caller's own objects, newest first, and whether there are more. */
  list(caller: Caller, page: Page): Promise<{ objects: Addressed[]; more: boolean }>
  /** Those of the ids that are the caller's active objects, newest first. */
  listByIds(caller: Caller, ids: string[]): Promise<Addressed[]>
  /**
   * Changes name or visibility. What becomes private is taken from others, and from the CDN, at once. Throws Problem
   * `not_found`, or `state_conflict` when others change it all the time.
   */
  update(id: string, caller: Caller, change: Change): Promise<Addressed>
  /** active → deleted, until it is restored or the retention time is over. Throws Problem `not_found`. */
  remove(id: string, caller: Caller): Promise<void>
  /** deleted → active, within the retention time. Throws Problem `not_found`. */
  restore(id: string, caller: Caller): Promise<Addressed>
  /**
   * A link, good for SIGNED_URL_SECONDS, to what the viewer may have of the bytes, at once. While their copy is not
   * made yet, it is one to `content` here, which makes it when it is followed.
   */
  sign(object: VisibleObject): Promise<ReadLink>
  /** Where the bytes are that the viewer may have: at the CDN, or under a short-lived link. Throws what `Publish` throws. */
  locate(object: VisibleObject, how: Locating): Promise<ReadLink>
}

/** Source: `renditions/renditions.ts`. */
interface Renditions {
  /**
   * The rendition of an active picture that the viewer may see, made now if it is not there. Where strangers may not have
   * it made it is the largest that is there, or else the object itself, for its copy without metadata.
   * Throws Problem `not_found`, or `token_missing` to a stranger; `link_required` where a stranger asks for more than a
   * width; `media_type_unsupported` for what is no picture; `image_unreadable`, `image_too_large` for an original that is
   * more than the decoders may take; `quota_exceeded` to its owner; or `overloaded`.
   */
  get(id: string, viewer: Viewer, asked: Asked): Promise<StoredRendition | VisibleObject>
  /** A link to a rendition, good for SIGNED_URL_SECONDS. */
  sign(made: StoredRendition, how: { download: boolean }): Promise<ReadLink>
}

/** Everything of one owner. Source: `objects/owners.ts`. */
interface Owners {
  /** How much the caller has, and may have, in bytes and objects. */
  usage(caller: Caller): Promise<Usage & Quotas>
  /**
   * Moves everything of one owner to purging, batch after batch, for as long as a call may take: uploads under way,
   * objects, and what is in the bin. What is `left` then takes another call.
   */
  erase(userId: string): Promise<Erasure>
}

export function createMedia(given: Deps): Media {
  const deps = { ...given, moves: createMoves(given) }
  return {
    uploads: {
      direct: (caller, upload) => uploadDirectly(deps, caller, upload),
      presign: (caller, declared) => presign(deps, caller, declared),
      beginMultipart: (caller, declared) => beginMultipart(deps, caller, declared),
      findMultipart: (id, caller) => findMultipart(deps, id, caller),
      linkParts: (id, caller, partNumbers) => linkParts(deps, id, caller, partNumbers),
      linkPart: (id, caller, part) => linkPart(deps, id, caller, part),
      arrivedParts: (id, caller) => arrivedParts(deps, id, caller),
      complete: (id, caller) => complete(deps, id, caller),
      abort: (id, caller) => abort(deps, id, caller),
      tus: createTusUploads(deps),
    },
    objects: {
      get: (id, viewer) => get(deps, id, viewer),
      list: (caller, page) => list(deps, caller, page),
      listByIds: (caller, ids) => listByIds(deps, caller, ids),
      update: (id, caller, change) => update(deps, id, caller, change),
      remove: (id, caller) => remove(deps, id, caller),
      restore: (id, caller) => restore(deps, id, caller),
      sign: (object) => sign(deps, object),
      locate: (object, how) => locate(deps, object, how),
    },
    renditions: createRenditions(deps),
    owners: { usage: (caller) => usage(deps, caller), erase: (userId) => erase(deps, userId) },
  }
}
