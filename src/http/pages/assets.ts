/** The files of a page that the service itself serves: read when they are asked for first, and kept. */
import { createHash } from 'node:crypto'
import { isNamed } from '../request/etag.ts'

const TYPES = { css: 'text/css', html: 'text/html', js: 'text/javascript', png: 'image/png', svg: 'image/svg+xml' }

export type Asset = {
  name: `${string}.${keyof typeof TYPES}`
  read: () => Promise<string | Uint8Array<ArrayBuffer>>
}

/**
 * What answers requests for assets, which have to ask again each time: their content, or that it is unchanged.
 * @param headers of every answer
 */
export function createAssets(headers: Record<string, string>): (request: Request, asset: Asset) => Promise<Response> {
  const loaded = new Map<string, ReturnType<typeof load>>()
  return async function serve(request, asset) {
    const loading = loaded.get(asset.name) ?? load(asset)
    loaded.set(asset.name, loading)
    // What failed may succeed when it is asked for again.
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
