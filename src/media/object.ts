/** A media object as its row says it is. */
import type { MediaEvent } from '../events/events.ts'

export const visibilities = ['private', 'public'] as const
export type Visibility = (typeof visibilities)[number]
export type Status = 'pending' | 'active' | 'deleted' | 'purging'

/** Null where the file is no picture. Pixels, as a person sees it: orientation applied, one frame of an animation. */
export type Dimensions = { width: number | null; height: number | null }

type Common = {
  id: string
  userId: string
  originalName: string
  mimeType: string
  key: string
  visibility: Visibility
  createdAt: Date
  /** Events owed, oldest first, as the statement that returned this row left them. */
  outbox: MediaEvent[]
}

/** An object whose bytes are known. */
export type StoredObject = Common & { status: 'active' | 'deleted'; sizeBytes: number; metadata: Dimensions }
/** An object whose bytes are on their way, or on their way out; what is known of them was only declared. */
export type UnsettledObject = Common & { status: 'pending' | 'purging'; sizeBytes: number | null }
export type MediaRow = StoredObject | UnsettledObject

/** Everything of one object, and nothing else, is stored below this. */
export function prefixOf(id: string): string {
  return `media/${id}/`
}

/** The stable address of an object's bytes. */
export function contentUrl(origin: string, id: string): string {
  return `${origin}/media/${id}/content`
}
