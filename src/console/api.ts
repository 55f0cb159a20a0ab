/** The service as the page calls it: by the client for everyone, and what Uppy needs beside that. */
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
/** An object with links to it in `WIDTHS`, smallest first; none of what is no picture. */
export type MediaItem = SignedMediaObject

/** The widths that tiles and the large view choose from. */
export const WIDTHS = [320, 640, 1280, 2560]

/** Beside the page's own address, wherever a gateway has put it. */
const ownBaseUrl = () => new URL('.', location.href).href.replace(/\/$/, '')

export type Api = ReturnType<typeof createApi>

/** @param token absent where a gateway says who is calling */
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
  }
}

type Signed = { url: string; key?: string; headers?: Record<string, string>; id: string }

export function openSession(): Promise<ConsoleSession> {
  return createHttp({ baseUrl: ownBaseUrl() }).ask('/console/session', { method: 'POST' })
}
