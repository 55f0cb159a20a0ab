/** A media object as its row describes it, and the layout of its keys. */
import mime from 'mime'
import type { MediaEvent } from '../../events/events.ts'
import { SVG } from './media-type.ts'

export const visibilities = ['private', 'public'] as const
export type Visibility = (typeof visibilities)[number]
export type Status = 'pending' | 'active' | 'deleted' | 'purging'

/** Null if the file is not a picture. Pixels as displayed: orientation applied, one frame of an animation. */
export type Dimensions = { width: number | null; height: number | null }

/** A ThumbHash (https://evanw.github.io/thumbhash/) in base64, and a colour as `#rrggbb`. */
export type Placeholder = { thumbHash: string; dominantColor: string }

/** The placeholder is absent until it is made. */
export type Metadata = Dimensions & Partial<Placeholder>

type Common = {
  id: string
  userId: string
  originalName: string
  mimeType: string
  key: string
  visibility: Visibility
  /** The key of the public copy; null while there is none, or none is needed. */
  publicKey: string | null
  createdAt: Date
  /** Until when the object is held, unless somebody claims it; null: it stays, or is not complete. */
  expiresAt: Date | null
  /** The store's id of the multipart upload; null for other uploads. */
  uploadId: string | null
}

/** An object whose bytes are known. */
export type StoredObject = Common & { status: 'active' | 'deleted'; sizeBytes: number; metadata: Metadata }
/**
 * An object that a viewer may see. `own`: the viewer is the owner, a service or the holder of a signed link, and gets
 * the original with its metadata.
 */
export type VisibleObject = StoredObject & { own: boolean }
/** An object with the stable URL of its bytes: at the CDN, or a path on this service if it begins with a slash. */
export type Addressed<T extends StoredObject = StoredObject> = T & { url: string }
/** An object that was just changed, with the events that its row owes, oldest first. */
export type ChangedObject = StoredObject & { outbox: MediaEvent[] }
/** A pending or purging object. While it is pending, its type and size are only declared. */
export type UnsettledObject = Common & { status: 'pending' | 'purging'; sizeBytes: number | null }
export type MediaRow = StoredObject | UnsettledObject

/**
 * The top prefixes of the store: `public/` has the copies that a CDN serves to everyone, and is used only with a CDN.
 * Keys in both are in order of time, because ids are.
 */
export const homes = ['media/', 'public/'] as const
export type Home = (typeof homes)[number]

/** The prefix of an object in a home. All keys of an object, and no others, are below its prefixes. */
export function prefixOf(id: string, home: Home = 'media/'): string {
  return `${home}${id}/`
}

/** The last segment of an original's key: `original.jpg` for `image/jpeg`, `original` for a type without an extension. */
export function nameOfOriginal(mimeType: string): string {
  return `original${extensionOf(mimeType)}`
}

/** The usual extension with its dot, such as `.jpg` for `image/jpeg`; empty for a type that has none. */
export function extensionOf(mimeType: string): string {
  const extension = mime.getExtension(mimeType)
  return extension === null ? '' : `.${extension}`
}

// The form of all keys of this service: ids are UUID version 7, and each object has a folder of its own.
const OWN_KEY = /^(?:media|public)\/([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\/./

/** The id of the object that a key belongs to; undefined for a foreign key, which the service must not touch. */
export function idOf(key: string): string | undefined {
  return OWN_KEY.exec(key)?.[1]
}

/** When a UUID version 7 was created, by its creator's clock: Unix time in milliseconds (RFC 9562, section 5.7). */
export function madeAtOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}

/** The prefix of a picture's renditions. */
export function renditionsPrefix(id: string): string {
  return `${prefixOf(id)}r/`
}

/** The prefixes of an object in both homes. */
export function prefixesOf(id: string): string[] {
  return homes.map((home) => prefixOf(id, home))
}

export function homeOf({ key }: { key: string }): Home {
  return key.startsWith('public/') ? 'public/' : 'media/'
}

/** `inline` for types that browsers display without running code, which an SVG may have. */
export function dispositionOf(mimeType: string): 'inline' | 'attachment' {
  return mimeType !== SVG && /^(image|video|audio)\//.test(mimeType) ? 'inline' : 'attachment'
}
