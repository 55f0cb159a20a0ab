/** The typed client as the console uses it, and the calls that only Uppy needs. */
import {
  type Change,
  createMediaClient,
  type LiveEvent,
  type SignedMediaObject,
  type Usage,
} from '@media-service/client'
import { createHttp } from '@media-service/client/http'
import type { ConsoleSession } from './session.ts'

export { MediaError } from '@media-service/client/http'
export type { Change, LiveEvent, Usage }
/** An object with links to renditions in `WIDTHS`, smallest first; non-images have none. */
export type MediaItem = SignedMediaObject

/** Widths of renditions for tiles and the large view. */
export const WIDTHS = [320, 640, 1280, 2560]

/** Relative to the page's own address, so that a gateway may mount it anywhere. */
const ownBaseUrl = () => new URL('.', location.href).href.replace(/\/$/, '')

export type Api = ReturnType<typeof createApi>

/** @param token absent when a gateway authenticates the user */
export function createApi(token: string | undefined) {
  const baseUrl = ownBaseUrl()
  const options = token === undefined ? { baseUrl } : { baseUrl, token }
  const http = createHttp(options)
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return {
    ...createMediaClient(options),
    headers,
    tusEndpoint: `${baseUrl}/media/tus`,
    sign: (json: object): Promise<Signed> => http.ask('/media/sign', { method: 'POST', json }),
    complete: (id: string): Promise<unknown> => http.ask(`/media/${id}/complete`, { method: 'POST' }),
    /** Aborts an upload, so that the service does not complete it by itself. */
    abort: (id: string): Promise<unknown> => http.call(`/media/${id}/upload`, { method: 'DELETE' }),
  }
}

type Signed = { url: string; key?: string; headers?: Record<string, string>; id: string }

export function openSession(): Promise<ConsoleSession> {
  return createHttp({ baseUrl: ownBaseUrl() }).ask('/console/session', { method: 'POST' })
}
