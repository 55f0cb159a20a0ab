/** One object in the gallery. */
import type { MediaItem } from './api.ts'
import { formatBytes } from './format.ts'
import { Bin, Globe, Paper, Play, Restore } from './icons.tsx'
import { PictureOf } from './picture.tsx'
import { placeholderOf } from './placeholder.ts'

export type TileActions = {
  onOpen: (item: MediaItem) => void
  onRemove: (item: MediaItem) => void
  onRestore: (item: MediaItem) => void
  /** Called when the links of the object have expired. */
  onStale: (item: MediaItem) => void
}

// Outside these ratios a tile crops its picture: a panorama would fill a row, a strip would be too thin to see.
const NARROWEST = 0.6
const WIDEST = 2.4

export function Tile({ item, onOpen, onRemove, onRestore, onStale }: TileActions & { item: MediaItem }) {
  const { originalName: name, mimeType, sizeBytes, metadata, visibility, status } = item
  const { width, height } = metadata
  const ratio = width && height ? Math.min(WIDEST, Math.max(NARROWEST, width / height)) : 1
  return (
    <li class="tile" style={{ '--ratio': String(ratio) }}>
      <button
        type="button"
        class="tile-open"
        aria-label={`${name}, ${shortType(mimeType)}, ${formatBytes(sizeBytes)}, ${visibility}`}
        style={placeholderOf(item)}
        onClick={() => onOpen(item)}
        onKeyDown={({ key }) => key === 'Delete' && status === 'active' && onRemove(item)}
      >
        <Preview item={item} onStale={onStale} />
        <span class="tile-name">{name}</span>
        {visibility === 'public' && (
          <span class="tile-mark">
            <Globe />
          </span>
        )}
      </button>
      <button
        type="button"
        class="button round tile-action"
        aria-label={status === 'active' ? `Delete ${name}` : `Restore ${name}`}
        onClick={() => (status === 'active' ? onRemove(item) : onRestore(item))}
      >
        {status === 'active' ? <Bin /> : <Restore />}
      </button>
    </li>
  )
}

function Preview({ item, onStale }: { item: MediaItem; onStale: (item: MediaItem) => void }) {
  const { mimeType } = item
  if (!mimeType.startsWith('image/'))
    return (
      <span class="tile-kind">
        {/^(video|audio)\//.test(mimeType) ? <Play /> : <Paper />}
        {shortType(mimeType)}
      </span>
    )
  return <PictureOf item={item} alt="" sizes="(max-width: 40rem) 50vw, 20rem" lazy onStale={onStale} />
}

export function shortType(mimeType: string): string {
  return mimeType.slice(mimeType.indexOf('/') + 1).toUpperCase()
}
