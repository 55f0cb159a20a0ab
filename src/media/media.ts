/**
 * The domain's interface: all use cases of media objects, and the states of an object from the first byte to the last.
 *
 *             direct | presign | multipart | tus            complete                 remove
 *   (nothing) ─────────────────────────────────▶ pending ──────────────────▶ active ◀───────────▶ deleted
 *                                                   │                                 restore        │
 *                                                   │ expired | refused | abort           retention  │
 *                                                   │                                  over | erase  │
 *                                                   └──────────────────▶ purging ◀───────────────────┘
 *                                                                           │ no bytes left, no event owed, links expired
 *                                                                           ▼
 *                                                                       (nothing)
 *
 * Erasure moves active objects to purging as well. Each arrow is one conditional statement in `table/`, which writes the
 * event in the same statement: the row is its own outbox. No arrow leads from purging to another state.
 */

import type { Caller } from '../auth/caller.ts'
import type { ReadLink } from './bytes/links.ts'
import { createRekeying } from './bytes/rekey.ts'
import type { Deps } from './deps.ts'
import type { Addressed, VisibleObject } from './object/object.ts'
import type { Quotas } from './object/quota.ts'
import type { Viewer } from './object/viewer.ts'
import { claim } from './objects/claim.ts'
import { type Locating, locate, sign } from './objects/links.ts'
import { type Change, get, list, listByIds, remove, restore, update } from './objects/objects.ts'
import { type Erasure, erase, usage } from './objects/owners.ts'
import { type Asked, createRenditions, type StoredRendition } from './renditions/renditions.ts'
import type { ArrivingRow } from './table/arrivals.ts'
import type { MultipartRow } from './table/multipart-uploads.ts'
import type { Page } from './table/objects.ts'
import type { Usage } from './table/owners.ts'
import { complete, completeArrived } from './uploads/complete.ts'
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
import { linkPart, linkParts, type NumberedLink, type UppyPart, type WantedPart } from './uploads/part-links.ts'
import { type Declaration, presign, type UploadLink } from './uploads/presigned.ts'
import { createTusUploads, type TusUploads } from './uploads/tus.ts'

/**
 * Every method throws Problem `storage_unavailable` or `database_unavailable` when the store or the database fails;
 * upkeep then finishes what the call began.
 */
export interface Media {
  uploads: Uploads
  objects: Objects
  renditions: Renditions
  owners: Owners
}

/** Uploads of every protocol, from the first byte to an active object. */
interface Uploads {
  /**
   * Stores a file that the service has received in full. Bytes and pending row are written in parallel; only when both
   * are stored, one UPDATE makes the object visible and appends its event to the outbox. With an idempotency key, a
   * retry gets the first answer. Source: `uploads/direct.ts`.
   * @throws what `Inspect` throws, and Problem `file_empty`, `quota_exceeded`, `idempotency_conflict`, or
   * `state_conflict` while the first request is still running
   */
  direct(caller: Caller, upload: Upload): Promise<Addressed>
  /**
   * Creates a pending object, and a link for one PUT of its bytes to the store; with an idempotency key, a retry gets a
   * new link to the same object while that is pending. Source: `uploads/presigned.ts`.
   * @throws Problem `media_type_unsupported`, `file_too_large`, `quota_exceeded`, `checksum_unenforceable`,
   * `idempotency_conflict`, `state_conflict` with the id of the object that this key created, or `request_invalid` if
   * the size is missing and quotas are set
   */
  presign(caller: Caller, declared: Declaration): Promise<UploadLink>
  /**
   * Creates a pending object and begins its multipart upload; with an idempotency key, a retry gets the same upload
   * while that is pending. Source: `uploads/multipart-uploads.ts`.
   * @throws Problem `media_type_unsupported`, `file_too_large`, `quota_exceeded`, `idempotency_conflict`,
   * `checksum_unenforceable` (S3 has no SHA-256 of a whole object that was uploaded in parts), or `state_conflict`:
   * with the id of the object that this key created, or when the store has no multipart uploads or needs checksums
   * that the client does not name
   */
  beginMultipart(caller: Caller, declared: MultipartDeclaration): Promise<MultipartUpload>
  /**
   * The caller's multipart upload, pending or complete. Source: `uploads/multipart-uploads.ts`.
   * @throws Problem `not_found` or `state_conflict`
   */
  findMultipart(id: string, caller: Caller): Promise<MultipartRow & { status: 'pending' | 'active' }>
  /**
   * A link for each part, valid for UPLOAD_URL_SECONDS, that accepts exactly as many bytes as `partSizeOf` gives this
   * part, and only bytes of its MD5 if one is given. Source: `uploads/part-links.ts`.
   * @throws Problem `not_found`, `state_conflict`, or `request_invalid` for a part number beyond the end of the file
   */
  linkParts(id: string, caller: Caller, parts: WantedPart[]): Promise<{ links: NumberedLink[]; expiresAt: Date }>
  /**
   * A link for one part as Uppy divides the file. Source: `uploads/part-links.ts`.
   * @throws the same as `linkParts`
   */
  linkPart(id: string, caller: Caller, part: UppyPart): Promise<string>
  /**
   * The parts of a multipart upload that the store has received. Source: `uploads/multipart-uploads.ts`.
   * @throws Problem `not_found`, `state_conflict`, or `upload_incomplete` when the store no longer has the upload
   */
  arrivedParts(id: string, caller: Caller): Promise<ArrivedParts>
  /**
   * pending → active, if the stored bytes match the declaration. Idempotent. Source: `uploads/complete.ts`.
   * @throws Problem `not_found`, `upload_incomplete` or `overloaded`; or one of kind `refused-bytes`, after which the
   * object is purging: what a direct upload of these bytes would throw, `type_mismatch` or `size_mismatch`
   */
  complete(id: string, caller: Caller): Promise<Addressed>
  /**
   * Completes a pending upload as `complete` does, for upkeep: its client has closed the page. `incomplete` while bytes
   * are missing. Source: `uploads/complete.ts`.
   * @throws the other problems of `complete`
   */
  completeArrived(row: ArrivingRow): Promise<'completed' | 'incomplete'>
  /**
   * pending → purging, and the bytes are removed. Source: `uploads/multipart-uploads.ts`.
   * @throws Problem `not_found`, or `state_conflict` when the upload is complete
   */
  abort(id: string, caller: Caller): Promise<void>
  /** Source: `uploads/tus.ts`. */
  tus: TusUploads
}

/** Active and soft-deleted objects. Source: `objects/objects.ts`; links: `objects/links.ts`. */
interface Objects {
  /**
   * An active object that the viewer may see.
   * @throws Problem `not_found`, or `token_missing` to an anonymous caller
   */
  get(id: string, viewer: Viewer): Promise<Addressed<VisibleObject>>
  /** A page of the caller's own objects, newest first, and whether there are more. */
  list(caller: Caller, page: Page): Promise<{ objects: Addressed[]; more: boolean }>
  /** The caller's active objects among these ids, newest first. */
  listByIds(caller: Caller, ids: string[]): Promise<Addressed[]>
  /**
   * Changes name or visibility. An object that becomes private loses its public copy at once, also at the CDN's origin.
   * @throws Problem `not_found`, or `state_conflict` when concurrent changes defeat every try
   */
  update(id: string, caller: Caller, change: Change): Promise<Addressed>
  /**
   * active → deleted, until it is restored or the retention time ends.
   * @throws Problem `not_found`
   */
  remove(id: string, caller: Caller): Promise<void>
  /**
   * deleted → active, within the retention time.
   * @throws Problem `not_found`
   */
  restore(id: string, caller: Caller): Promise<Addressed>
  /**
   * Ends the hold of these objects (distinct ids) of one owner, all or none; those that are not held count as claimed.
   * In the order of the ids. Source: `objects/claim.ts`.
   * @throws Problem `not_found` when one is foreign or unknown, or `state_conflict` with the ids of those that are
   * deleted or pending
   */
  claim(ids: readonly string[], userId: string): Promise<Addressed[]>
  /**
   * A link, valid for SIGNED_URL_SECONDS, to the bytes that the viewer may read; never waits. While the public copy
   * does not exist yet, it is a link to `content` on this service, which makes the copy when it is followed.
   */
  sign(object: VisibleObject): Promise<ReadLink>
  /**
   * A URL of the bytes that the viewer may read: at the CDN, or a short-lived link.
   * @throws what `MakePublicCopy` throws
   */
  locate(object: VisibleObject, how: Locating): Promise<ReadLink>
}

/** Renditions of pictures. Source: `renditions/renditions.ts`. */
interface Renditions {
  /**
   * The rendition of an active picture that the viewer may see, made now if it is not stored yet. Where non-owners may
   * not cause it to be made, the result is the largest stored rendition, or else the object itself, for its public
   * copy.
   * @throws Problem `not_found`, or `token_missing` to an anonymous caller; `link_required` where a non-owner asks
   * for more than a width; `media_type_unsupported` for an object that is not a picture; `image_unreadable` or
   * `image_too_large` for an original that the decoders refuse; `quota_exceeded` to its owner; or `overloaded`
   */
  get(id: string, viewer: Viewer, asked: Asked): Promise<StoredRendition | VisibleObject>
  /** A link to a rendition, valid for SIGNED_URL_SECONDS. */
  sign(made: StoredRendition, how: { download: boolean }): Promise<ReadLink>
}

/** Usage and erasure of one owner. Source: `objects/owners.ts`. */
interface Owners {
  /** The caller's usage and quotas, in bytes and objects. */
  usage(caller: Caller): Promise<Usage & Quotas>
  /**
   * Moves all objects of one owner to purging, pending and soft-deleted ones too, batch after batch, for as long as a
   * call may take. While any are `left`, call again.
   */
  erase(userId: string): Promise<Erasure>
}

type Groups =
  | 'arrivals'
  | 'uploads'
  | 'multipartUploads'
  | 'tusUploads'
  | 'objects'
  | 'holds'
  | 'renditions'
  | 'outcomes'
  | 'transients'
  | 'owners'

export function createMedia(given: Deps<Groups>): Media {
  const deps = { ...given, rekeying: createRekeying(given) }
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
      completeArrived: (row) => completeArrived(deps, row),
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
      claim: (ids, userId) => claim(deps, ids, userId),
      sign: (object) => sign(deps, object),
      locate: (object, how) => locate(deps, object, how),
    },
    renditions: createRenditions(deps),
    owners: { usage: (caller) => usage(deps, caller), erase: (userId) => erase(deps, userId) },
  }
}
