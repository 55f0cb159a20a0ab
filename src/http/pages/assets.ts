/** Static files of the built-in pages, loaded on first request and cached. */
import { createHash } from 'node:crypto'
import { isNamed } from '../request/etag.ts'

const TYPES = { css: 'text/css', html: 'text/html', js: 'text/javascript', png: 'image/png', svg: 'image/svg+xml' }

export type Asset = {
  name: `${string}.${keyof typeof TYPES}`
  read: () => Promise<string | Uint8Array<ArrayBuffer>>
}

/**
 * Serves an asset, or 304; browsers revalidate it on each use (no-cache).
 * @param headers added to every response
 */
export function createAssets(headers: Record<string, string>): (request: Request, asset: Asset) => Promise<Response> {
  const loaded = new Map<string, ReturnType<typeof load>>()
  return async function serve(request, asset) {
    const loading = loaded.get(asset.name) ?? load(asset)
    loaded.set(asset.name, loading)
    // A failed load is retried by the next request.
    loading.catch(() => loaded.delete(asset.name))
    const { body, etag, type } = await loading
    const all = {
      etag,
      'content-type': `${type}; charset=utf-8`,
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      ...headers,
    }
    return isNamed(etag, request.headers.get('if-none-match'))
      ? new Response(null, { status: 304, headers: all })
      : new Response(body, { headers: all })
  }
}

async function load({ name, read }: Asset) {
  const body = await read()
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
  return { body, etag, type: TYPES[name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES] }
}
