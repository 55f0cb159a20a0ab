/** The background of a tile until its picture has loaded. */
import { thumbHashToDataURL } from 'thumbhash'
import type { MediaItem } from './api.ts'

const drawn = new Map<string, string>()

/** CSS for a tile: the blurred picture when its ThumbHash is known, else its dominant colour. */
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
