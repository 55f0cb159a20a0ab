/** Rows of tiles that keep each picture's aspect ratio; scrolling to the end loads more. */
import { useEffect, useRef } from 'preact/hooks'
import type { MediaItem } from './api.ts'
import { Failure } from './failure.tsx'
import { Picture } from './icons.tsx'
import type { LibraryState } from './library.ts'
import { Tile, type TileActions } from './tile.tsx'

type Props = LibraryState & TileActions & { view: MediaItem['status']; onMore: () => void }

// Load before the end becomes visible.
const AHEAD = '1200px'

export function Gallery({ view, items, more, loading, error, onMore, ...actions }: Props) {
  const end = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (end.current === null || !more || loading || error !== null) return
    // A new observer per page reports at once whether the end is still in sight.
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && onMore(), { rootMargin: AHEAD })
    observer.observe(end.current)
    return () => observer.disconnect()
  }, [more, loading, error, onMore])
  return (
    <>
      {items.length === 0 && !more && <Nothing view={view} />}
      <ul class="tiles" aria-busy={loading} onKeyDown={moveFocus}>
        {items.map((item) => (
          <Tile key={item.id} item={item} {...actions} />
        ))}
      </ul>
      {error !== null && <Failure error={error} onRetry={onMore} />}
      <div ref={end} class="end">
        {loading && <span class="unseen">Loading</span>}
      </div>
    </>
  )
}

function Nothing({ view }: { view: MediaItem['status'] }) {
  if (view === 'deleted')
    return (
      <div class="nothing">
        <p>The bin is empty.</p>
      </div>
    )
  return (
    <div class="nothing">
      <Picture />
      <p>
        <strong>Drop a picture anywhere on this page</strong>
      </p>
      <p>or paste one, choose files, or take a photo. It shows up here in a moment, with links to use it by.</p>
    </div>
  )
}

/** Arrow keys move the focus along the row, and to the nearest tile above or below. */
function moveFocus(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  const tiles = [...event.currentTarget.querySelectorAll<HTMLElement>('.tile-open')]
  const at = tiles.indexOf(document.activeElement as HTMLElement)
  if (at === -1) return
  const next = nextTile(event.key, tiles, at)
  if (next === undefined) return
  event.preventDefault()
  next.focus()
}

function nextTile(key: string, tiles: HTMLElement[], at: number): HTMLElement | undefined {
  if (key === 'ArrowRight') return tiles[at + 1]
  if (key === 'ArrowLeft') return tiles[at - 1]
  if (key === 'Home') return tiles[0]
  if (key === 'End') return tiles.at(-1)
  if (key !== 'ArrowDown' && key !== 'ArrowUp') return undefined
  const from = tiles[at]?.getBoundingClientRect()
  if (from === undefined) return undefined
  const middle = ({ left, width }: DOMRect) => left + width / 2
  const others = tiles.map((tile) => ({ tile, box: tile.getBoundingClientRect() }))
  const beyond = others.filter(({ box }) => (key === 'ArrowDown' ? box.top >= from.bottom : box.bottom <= from.top))
  const distance = ({ box }: { box: DOMRect }) =>
    Math.abs(box.top - from.top) * 10 + Math.abs(middle(box) - middle(from))
  return beyond.sort((a, b) => distance(a) - distance(b))[0]?.tile
}
