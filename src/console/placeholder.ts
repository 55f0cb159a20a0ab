/** What a tile shows until its picture is there. */
import { thumbHashToDataURL } from 'thumbhash'
import type { MediaItem } from './api.ts'

const drawn = new Map<string, string>()

/** Styles for a tile's background: the blurred picture where its ThumbHash is known, else its colour. */
export function placeholderOf({ metadata: { thumbHash, dominantColor } }: MediaItem): Record<string, string> {
  const style: Record<string, string> = {}
  if (dominantColor) style.backgroundColor = dominantColor
  if (thumbHash) style.backgroundImage = `url("${draw(thumbHash)}")`
  return style
}

function draw(thumbHash: string): string {
  const before = drawn.get(thumbHash)
  if (before !== undefined) return before
  const url = thumbHashToDataURL(Uint8Array.from(atob(thumbHash), (c) => c.charCodeAt(0)))
  drawn.set(thumbHash, url)
  return url
}
