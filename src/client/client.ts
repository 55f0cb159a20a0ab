/**
 * The typed client: `import { createMediaClient } from '@media-service/client'`. For browsers, Bun, Deno and Node; uses
 * Web standards only.
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
  /** A media type, or a range such as `image/*`. */
  type?: string
  /** `deleted` lists soft-deleted objects. */
  status?: 'active' | 'deleted'
  /** Objects per request, 1 to 100. */
  pageSize?: number
  /** The id of an object; the list begins with the next older one. */
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
    /** Uploads a file by the method that suits its size, and resumes after lost connections. */
    upload: (file: Blob, options?: UploadOptions): Promise<MediaObject> => upload(http, file, options),

    /** Gets an own or public object with a short-lived link to its bytes. */
    get,

    /** Lists the caller's objects, newest first, page by page. */
    async *list({ renditions, pageSize, signal, ...query }: ListOptions = {}): AsyncGenerator<SignedMediaObject, void> {
      for (let cursor = query.cursor; ; ) {
        const asked = { ...query, cursor, limit: pageSize?.toString(), renditions: renditions?.join() }
        const page: MediaPage = await http.ask(`/media${queryOf(asked)}`, { signal })
        yield* page.items
        if (page.nextCursor === null) return
        cursor = page.nextCursor
      }
    },

    /** Changes the name or visibility. */
    update: (id: string, change: Change): Promise<MediaObject> => http.ask(path(id), { method: 'PATCH', json: change }),

    /** Soft-deletes an object. */
    async remove(id: string): Promise<void> {
      await http.call(path(id), { method: 'DELETE', once: true })
    },

    /** Restores a soft-deleted object. */
    async restore(id: string): Promise<MediaObject> {
      const { status, text } = await http.call(`${path(id)}/restore`, { method: 'POST', once: true })
      return status === 404 ? get(id) : JSON.parse(text)
    },

    /** Keeps held objects of the caller for good, all or none; a service names their owner. */
    async claim(ids: readonly string[], { userId }: { userId?: string } = {}): Promise<MediaObject[]> {
      const { items } = await http.ask<{ items: MediaObject[] }>('/media/claim', {
        method: 'POST',
        json: { ids, userId },
      })
      return items
    },

    /** Usage and quota of the caller. */
    usage: (): Promise<Usage> => http.ask('/media/usage'),

    /** Streams events of the caller's objects; reconnects when the connection is lost. */
    events: (options: FollowOptions = {}): AsyncGenerator<LiveEvent, void> => follow(http, options),
  }
}

function queryOf(parameters: Record<string, string | undefined>): string {
  const given = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`
}
