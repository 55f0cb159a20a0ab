/** An image in the rendition that fits its place, with a placeholder until it loads. */
import { useState } from 'preact/hooks'
import type { MediaItem } from './api.ts'

type Props = {
  item: MediaItem
  alt: string
  /** Displayed width, as in `<img sizes>`. */
  sizes: string
  /** Whether to defer loading until the image scrolls into view. */
  lazy?: boolean
  style?: Record<string, string>
  /** Called when the links of the object have expired. */
  onStale: (item: MediaItem) => void
}

// A rendition is made on first request, and the service may be busy.
const TRIES = 4
const AGAIN_MS = 1500

export function PictureOf({ item, alt, sizes, lazy = false, style = {}, onStale }: Props) {
  const { signedUrl, signedUrlExpiresAt, renditions = [], metadata, status } = item
  const [failures, setFailures] = useState(0)
  const [seen, setSeen] = useState(false)
  const failed = () => {
    if (Date.parse(signedUrlExpiresAt) < Date.now()) return onStale(item)
    if (failures < TRIES) setTimeout(() => setFailures(failures + 1), AGAIN_MS * (failures + 1))
  }
  // Deleted objects have no renditions; images that cannot be rendered are shown as they are.
  const sized = status === 'active' && failures < TRIES ? renditions : []
  return (
    <img
      // A new element on each failure, so that the browser requests the image again.
      key={failures}
      class={seen ? 'seen' : ''}
      src={sized[0]?.url ?? signedUrl}
      srcset={srcsetOf(sized)}
      sizes={sizes}
      width={metadata.width ?? undefined}
      height={metadata.height ?? undefined}
      alt={alt}
      loading={lazy ? 'lazy' : 'eager'}
      decoding="async"
      style={style}
      onLoad={() => setSeen(true)}
      onError={failed}
    />
  )
}

export function srcsetOf(renditions: { url: string; width: number }[]): string | undefined {
  return renditions.length === 0 ? undefined : renditions.map(({ url, width }) => `${url} ${width}w`).join(', ')
}
