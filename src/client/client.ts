/**
 * The service for programs and pages: `import { createMediaClient } from '@media-service/client'`. For browsers, Bun, Deno
 * and Node; it needs nothing but Web standards.
 */
import { type FollowOptions, follow, type LiveEvent } from './events.ts'
import { createHttp, type HttpOptions } from './http.ts'
import type { Change, MediaObject, MediaPage, SignedMediaObject, Usage } from './types.ts'
import { type UploadOptions, upload } from './upload.ts'

export type { FollowOptions, LiveEvent } from './events.ts'
export { type HttpOptions as MediaClientOptions, MediaError, type Progress } from './http.ts'
export type { Change, MediaEvent, MediaObject, SignedMediaObject, Usage } from './types.ts'
export type { UploadOptions } from './upload.ts'

/** `renditions`: widths in pixels, for an `<img srcset>`. */
export type GetOptions = { renditions?: readonly number[]; signal?: AbortSignal }
export type ListOptions = GetOptions & {
  /** A media type, or a family as `image/*`. */
  type?: string
  /** `deleted` is the bin. */
  status?: 'active' | 'deleted'
  /** How many are asked for at once, 1 to 100. */
  pageSize?: number
  /** The id of an object: only what is older. */
  cursor?: string
}

export type MediaClient = ReturnType<typeof createMediaClient>

/** Every call throws MediaError, or the reason of its `signal`. */
export function createMediaClient(options: HttpOptions) {
  const http = createHttp(options)
  const path = (id: string) => `/media/${encodeURIComponent(id)}`
  const get = (id: string, { renditions, signal }: GetOptions = {}): Promise<SignedMediaObject> =>
    http.ask(`${path(id)}${queryOf({ renditions: renditions?.join() })}`, { signal })

  return {
    /** Stores a file, in the way that suits its size; goes on after breaks. */
    upload: (file: Blob, options?: UploadOptions): Promise<MediaObject> => upload(http, file, options),

    /** One's own, or a public one, with a short-lived link to its bytes. */
    get,

    /** One's own, newest first, asked for page by page. */
    async *list({ renditions, pageSize, signal, ...query }: ListOptions = {}): AsyncGenerator<SignedMediaObject, void> {
      for (let cursor = query.cursor; ; ) {
        const asked = { ...query, cursor, limit: pageSize?.toString(), renditions: renditions?.join() }
        const page: MediaPage = await http.ask(`/media${queryOf(asked)}`, { signal })
        yield* page.items
        if (page.nextCursor === null) return
        cursor = page.nextCursor
      }
    },

    /** Changes its name or visibility. */
    update: (id: string, change: Change): Promise<MediaObject> => http.ask(path(id), { method: 'PATCH', json: change }),

    /** Moves it to the bin. */
    async remove(id: string): Promise<void> {
      await http.call(path(id), { method: 'DELETE', once: true })
    },

    /** Takes it back out of the bin. */
    async restore(id: string): Promise<MediaObject> {
      const { status, text } = await http.call(`${path(id)}/restore`, { method: 'POST', once: true })
      return status === 404 ? get(id) : JSON.parse(text)
    },

    /** How much one has, and may have. */
    usage: (): Promise<Usage> => http.ask('/media/usage'),

    /** What happens to one's own objects, as it happens, over as many connections as it takes. */
    events: (options: FollowOptions = {}): AsyncGenerator<LiveEvent, void> => follow(http, options),
  }
}

function queryOf(parameters: Record<string, string | undefined>): string {
  const given = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`
}
