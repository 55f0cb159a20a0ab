/** A dialog that shows one object, with its actions and links. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Change, MediaItem } from './api.ts'
import { Failure } from './failure.tsx'
import { formatBytes, formatDate } from './format.ts'
import { Bin, Close, Next, Paper, Previous, Restore } from './icons.tsx'
import { Links } from './links.tsx'
import { PictureOf } from './picture.tsx'
import { placeholderOf } from './placeholder.ts'
import { shortType } from './tile.tsx'
import { VisibilityChoice } from './visibility.tsx'

type Props = {
  item: MediaItem
  before: MediaItem | undefined
  after: MediaItem | undefined
  onOpen: (item: MediaItem) => void
  /** Rejects when the service refuses the change. */
  onChange: (item: MediaItem, change: Change) => Promise<void>
  onRemove: (item: MediaItem) => void
  onRestore: (item: MediaItem) => void
  /** Called when the links of the object have expired. */
  onStale: (item: MediaItem) => void
  onClose: () => void
}

export function Details({ item, before, after, onOpen, onChange, onRemove, onRestore, onStale, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  const [busy, setBusy] = useState(false)
  // The choice shows at once, and reverts if the change is refused.
  const [chosen, setChosen] = useState<Change['visibility']>()
  const [failure, setFailure] = useState<Error | null>(null)
  const active = item.status === 'active'
  const step = (to: MediaItem | undefined) => to && onOpen(to)

  async function change(wanted: Change): Promise<void> {
    setBusy(true)
    setFailure(null)
    setChosen(wanted.visibility)
    await onChange(item, wanted).catch(setFailure)
    setChosen(undefined)
    setBusy(false)
  }

  return (
    <dialog
      class="details"
      ref={dialog}
      aria-label={item.originalName}
      onClose={onClose}
      onClick={({ target, currentTarget }) => target === currentTarget && onClose()}
      onKeyDown={({ key, target }) => {
        if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) return
        if (key === 'ArrowLeft') step(before)
        if (key === 'ArrowRight') step(after)
      }}
    >
      <Stage item={item} before={before} after={after} onStep={step} onStale={onStale} />
      <div class="facts">
        <button type="button" class="button quiet round details-close" aria-label="Close" onClick={onClose}>
          <Close />
        </button>
        {active ? (
          <Name value={item.originalName} busy={busy} onRename={(originalName) => change({ originalName })} />
        ) : (
          <h2>{item.originalName}</h2>
        )}
        <Facts item={item} />
        {failure && <Failure error={failure} />}
        {active && (
          <Visibility item={item} value={chosen ?? item.visibility} onChange={(visibility) => change({ visibility })} />
        )}
        {active && <Links item={item} />}
        <button
          type="button"
          class={active ? 'button danger' : 'button primary'}
          onClick={() => (active ? onRemove(item) : onRestore(item))}
        >
          {active ? <Bin /> : <Restore />}
          {active ? 'Move to the bin' : 'Restore'}
        </button>
      </div>
    </dialog>
  )
}

type StageProps = Pick<Props, 'item' | 'before' | 'after' | 'onStale'> & { onStep: (to: MediaItem | undefined) => void }

/** The picture, with buttons to the objects before and after it. */
function Stage({ item, before, after, onStep, onStale }: StageProps) {
  return (
    <div class="stage">
      <Large item={item} onStale={onStale} />
      <button
        type="button"
        class="button round step previous"
        aria-label="Previous"
        disabled={!before}
        onClick={() => onStep(before)}
      >
        <Previous />
      </button>
      <button
        type="button"
        class="button round step next"
        aria-label="Next"
        disabled={!after}
        onClick={() => onStep(after)}
      >
        <Next />
      </button>
    </div>
  )
}

type Visible = MediaItem['visibility']
type VisibilityProps = { item: MediaItem; value: Visible; onChange: (visibility: Visible) => void }

function Visibility({ item, value, onChange }: VisibilityProps) {
  return (
    <section>
      <h3>Visibility</h3>
      <VisibilityChoice legend="Visibility" value={value} onChange={onChange} />
      <p class="hint">
        {item.visibility === 'public'
          ? 'Everyone who has its address.'
          : 'Only you. For others the address is not found.'}{' '}
        <a href={item.url} target="_blank" rel="noreferrer">
          See what others get
        </a>
      </p>
    </section>
  )
}

function Large({ item, onStale }: { item: MediaItem; onStale: (item: MediaItem) => void }) {
  const { mimeType, signedUrl, originalName } = item
  if (mimeType.startsWith('image/'))
    return (
      <PictureOf
        item={item}
        alt={originalName}
        sizes="(max-width: 60rem) 100vw, 70vw"
        style={placeholderOf(item)}
        onStale={onStale}
      />
    )
  // biome-ignore lint/a11y/useMediaCaption: there are none for what people upload
  if (/^(video|audio)\//.test(mimeType)) return <video src={signedUrl} controls preload="metadata" />
  return (
    <p class="tile-kind">
      <Paper />
      {shortType(mimeType)}
    </p>
  )
}

function Name({ value, busy, onRename }: { value: string; busy: boolean; onRename: (name: string) => void }) {
  const [name, setName] = useState(value)
  useEffect(() => setName(value), [value])
  const wanted = name.trim()
  const changed = wanted !== '' && wanted !== value
  return (
    <form
      class="name"
      onSubmit={(event) => {
        event.preventDefault()
        if (changed) onRename(wanted)
      }}
    >
      <label>
        <span class="unseen">Name</span>
        <input
          class="field"
          value={name}
          maxLength={1024}
          spellcheck={false}
          disabled={busy}
          onInput={({ currentTarget }) => setName(currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Escape' || name === value) return
            // Cancels the rename without closing the dialog.
            event.preventDefault()
            setName(value)
          }}
        />
      </label>
      {changed && (
        <button type="submit" class="button primary" disabled={busy}>
          Rename
        </button>
      )}
    </form>
  )
}

function Facts({ item: { metadata, sizeBytes, mimeType, createdAt } }: { item: MediaItem }) {
  const { width, height } = metadata
  return (
    <dl>
      {width !== null && height !== null && (
        <div>
          <dt>Dimensions</dt>
          <dd>
            {width} × {height}
          </dd>
        </div>
      )}
      <div>
        <dt>Size</dt>
        <dd>{formatBytes(sizeBytes)}</dd>
      </div>
      <div>
        <dt>Type</dt>
        <dd>{mimeType}</dd>
      </div>
      <div>
        <dt>Added</dt>
        <dd>{formatDate(createdAt)}</dd>
      </div>
    </dl>
  )
}
