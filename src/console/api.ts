/** The service, as the page calls it. */
import type { ConsoleSession } from './session.ts'

export type Rendition = { width: number; height: number; url: string }
export type MediaItem = {
  id: string
  originalName: string
  mimeType: string
  sizeBytes: number
  url: string
  metadata: { width: number | null; height: number | null; thumbHash: string | null; dominantColor: string | null }
  visibility: 'private' | 'public'
  status: 'active' | 'deleted'
  createdAt: string
  signedUrl: string
  signedUrlExpiresAt: string
  /** Smallest first; none of what is no picture. */
  renditions: Rendition[]
}
export type MediaPage = { items: MediaItem[]; nextCursor: string | null }
export type Change = { originalName?: string; visibility?: 'private' | 'public' }
export type Usage = { bytes: number; objects: number; quotaBytes: number | null; quotaObjects: number | null }

/** What the service answered instead: its problem's stable code, and its words for people. */
export class Refusal extends Error {
  readonly code: string
  readonly status: number
  constructor({ code, detail, status }: { code: string; detail: string; status: number }) {
    super(detail)
    this.name = 'Refusal'
    this.code = code
    this.status = status
  }

  /** Of what was answered, whatever that is. */
  static of({ status, statusText, responseText }: Answer): Refusal {
    const { code = `http_${status}`, detail = statusText } = parsed(responseText)
    return new Refusal({ code, detail, status })
  }

  /** The same, said of one of many files. */
  about(name: string): Refusal {
    return new Refusal({ code: this.code, detail: `${name}: ${this.message}`, status: this.status })
  }
}

type Answer = { status: number; statusText: string; responseText: string }

function parsed(text: string): { code?: string; detail?: string } {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

/** Beside the page's own address, wherever a gateway has put it. */
const ROOT = new URL('.', location.href)

export type Api = ReturnType<typeof createApi>

/** @param token absent where a gateway says who is calling */
export function createApi(token: string | undefined) {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const call = <T>(method: string, path: string, json?: unknown) => request<T>(method, `media${path}`, headers, json)
  return {
    headers,
    tusEndpoint: new URL('media/tus', ROOT).href,
    list: (query: Record<string, string>) => call<MediaPage>('GET', `?${new URLSearchParams(query)}`),
    update: (id: string, change: Change) =>
      call<Omit<MediaItem, 'signedUrl' | 'signedUrlExpiresAt' | 'renditions'>>('PATCH', `/${id}`, change),
    remove: (id: string) => call<void>('DELETE', `/${id}`),
    restore: (id: string) =>
      call<Omit<MediaItem, 'signedUrl' | 'signedUrlExpiresAt' | 'renditions'>>('POST', `/${id}/restore`),
    complete: (id: string) =>
      call<Omit<MediaItem, 'signedUrl' | 'signedUrlExpiresAt' | 'renditions'>>('POST', `/${id}/complete`),
    sign: (body: object) =>
      call<{ url: string; key?: string; headers?: Record<string, string>; id: string }>('POST', '/sign', body),
    usage: () => call<Usage>('GET', '/usage'),
  }
}

export function openSession(): Promise<ConsoleSession> {
  return request('POST', 'console/session', {})
}

async function request<T>(method: string, path: string, headers: Record<string, string>, json?: unknown): Promise<T> {
  const response = await fetch(new URL(path, ROOT), {
    method,
    headers: json === undefined ? headers : { ...headers, 'content-type': 'application/json' },
    body: json === undefined ? null : JSON.stringify(json),
  }).catch(() => {
    throw new Refusal({ code: 'unreachable', detail: 'The service does not answer.', status: 0 })
  })
  if (response.ok) return response.status === 204 ? (undefined as T) : response.json()
  const { status, statusText } = response
  throw Refusal.of({ status, statusText, responseText: await response.text() })
}
