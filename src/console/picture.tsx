/** A picture in the size of its place; its placeholder until it is there. */
import { useState } from 'preact/hooks'
import type { MediaItem } from './api.ts'

type Props = {
  item: MediaItem
  alt: string
  /** How wide its place is, as in `<img sizes>`. */
  sizes: string
  /** Not before it comes into sight. */
  lazy?: boolean
  style?: Record<string, string>
  /** Its links do not work any more. */
  onStale: (item: MediaItem) => void
}

// A size that nobody has asked for is made now, and the service may be busy with others.
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
  // What is in the bin has no renditions, and what can't be made smaller is shown as it is.
  const sized = status === 'active' && failures < TRIES ? renditions : []
  return (
    <img
      // Asks again with each failure.
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
