/** A media object as its row says it is. */
import type { MediaEvent } from '../../events/events.ts'

export const visibilities = ['private', 'public'] as const
export type Visibility = (typeof visibilities)[number]
export type Status = 'pending' | 'active' | 'deleted' | 'purging'

/** Null where the file is no picture. Pixels, as a person sees it: orientation applied, one frame of an animation. */
export type Dimensions = { width: number | null; height: number | null }

/** A ThumbHash (https://evanw.github.io/thumbhash/) in base64, and a colour as `#rrggbb`. */
export type Placeholder = { thumbHash: string; dominantColor: string }

/** The placeholder is there once it is made. */
export type Metadata = Dimensions & Partial<Placeholder>

type Common = {
  id: string
  userId: string
  originalName: string
  mimeType: string
  key: string
  visibility: Visibility
  /** Where the copy is that others than the owner get; null while there is none, or none is needed. */
  publicKey: string | null
  createdAt: Date
  /** The store's id of its upload in parts; null when it came otherwise. */
  uploadId: string | null
}

/** An object whose bytes are known. */
export type StoredObject = Common & { status: 'active' | 'deleted'; sizeBytes: number; metadata: Metadata }
/** One that somebody may see; `own`: with everything that is in its file, because it is theirs. */
export type VisibleObject = StoredObject & { own: boolean }
/** One with the stable address of its bytes: at the CDN, or where it begins with a slash, on this service. */
export type Addressed<T extends StoredObject = StoredObject> = T & { url: string }
/** One that was just changed, with the events that its row owes since, oldest first. */
export type ChangedObject = StoredObject & { outbox: MediaEvent[] }
/** An object whose bytes are on their way, or on their way out; what is known of them was only declared. */
export type UnsettledObject = Common & { status: 'pending' | 'purging'; sizeBytes: number | null }
export type MediaRow = StoredObject | UnsettledObject

/**
 * Where objects are stored: `public/` is for copies that a CDN serves to everyone, and only used where there is one.
 * Both are in order of time, because ids are.
 */
export const homes = ['media/', 'public/'] as const
export type Home = (typeof homes)[number]

/** Where an object's first bytes lie. Everything of one object, and nothing else, is stored below its prefixes. */
export function prefixOf(id: string, home: Home = 'media/'): string {
  return `${home}${id}/`
}

// The one form of the service's own keys: ids are of version 7, and each object has a folder of its own.
const OWN_KEY = /^(?:media|public)\/([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\/./

/** The id of the object whose bytes are under a key; undefined for a key that is not the service's own, nor its to touch. */
export function idOf(key: string): string | undefined {
  return OWN_KEY.exec(key)?.[1]
}

/** When an id of version 7 was made, by its maker's clock: Unix time in milliseconds (RFC 9562, section 5.7). */
export function madeAtOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}

/** Where the renditions of a picture lie. */
export function renditionsPrefix(id: string): string {
  return `${prefixOf(id)}r/`
}

/** In both homes. */
export function prefixesOf(id: string): string[] {
  return homes.map((home) => prefixOf(id, home))
}

export function homeOf({ key }: { key: string }): Home {
  return key.startsWith('public/') ? 'public/' : 'media/'
}

/** `inline` for what browsers show without running anything. */
export function dispositionOf(mimeType: string): 'inline' | 'attachment' {
  return /^(image|video|audio)\//.test(mimeType) ? 'inline' : 'attachment'
}
