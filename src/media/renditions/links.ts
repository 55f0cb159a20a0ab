/**
 * Signed links to renditions that work without a token, for an `<img srcset>`: an HMAC proves that the service made
 * them.
 */

import { hmac, isHmac, type Secrets } from '../../secrets.ts'
import type { Dimensions } from '../object/object.ts'
import { isPicture, renditionOf } from '../object/rendition.ts'

export type RenditionLink = { width: number; height: number; url: string }

export type RenditionLinks = {
  /**
   * Links to a picture in these widths, smallest first; none if it is not a picture. They are equal within a window of
   * half their life, so that caches hit.
   */
  of(
    object: { id: string; mimeType: string; metadata: Dimensions },
    widths: readonly number[],
    origin: string,
  ): RenditionLink[]
  /** Whether this query is of an unexpired link to this object that the service signed. */
  allows(id: string, query: Record<string, string>): boolean
}

type Deps = {
  secrets: Secrets
  /** Pixels, ascending. */
  sizes: readonly number[]
  /** Lifetime of a link. */
  seconds: number
  /** Unix time in milliseconds. */
  now: () => number
}

export function createRenditionLinks({ secrets, sizes, seconds, now }: Deps): RenditionLinks {
  const textOf = (id: string, width: number, expires: number) =>
    JSON.stringify(['rendition', id.toLowerCase(), width, expires])
  const sign = (id: string, width: number, expires: number) => hmac(textOf(id, width, expires), secrets[0])

  return {
    of(object, widths, origin) {
      if (!isPicture(object)) return []
      const window = Math.max(1, Math.floor(seconds / 2))
      const expires = Math.floor(now() / 1000 / window) * window + seconds
      const links = new Map<number, RenditionLink>()
      for (const wished of widths.toSorted((a, b) => a - b)) {
        const wish = { width: wished, height: undefined, fit: 'inside', format: 'webp', quality: 0 } as const
        const { width, height } = renditionOf(wish, object, { sizes, accept: '' })
        const size = sizes.find((one) => one >= wished) ?? sizes.at(-1) ?? wished
        const query = `w=${size}&expires=${expires}&signature=${sign(object.id, size, expires)}`
        if (!links.has(width)) links.set(width, { width, height, url: `${origin}/media/${object.id}/content?${query}` })
      }
      return [...links.values()]
    },

    allows(id, { w = '', expires = '', signature = '', ...more }) {
      const ours = isHmac(signature, textOf(id, Number(w), Number(expires)), secrets)
      return ours && Number(expires) * 1000 > now() && Object.keys(more).length === 0
    },
  }
}
