/** The page for a signed-in visitor: uploads, the library and the bin. */
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Api, Change, MediaItem } from './api.ts'
import { Details } from './details.tsx'
import { Gallery } from './gallery.tsx'
import { Logo } from './icons.tsx'
import { createLibraries } from './libraries.ts'
import type { ConsoleSession } from './session.ts'
import { Shelf } from './shelf.tsx'
import { createToasts, Toasts } from './toasts.tsx'
import { UsageLine } from './usage.tsx'
import { useStore } from './use-store.ts'

type Props = { api: Api; session: ConsoleSession; onSignOut: (() => void) | null }

export function App({ api, session, onSignOut }: Props) {
  const toasts = useMemo(createToasts, [])
  const libraries = useMemo(() => createLibraries(api, toasts.fail), [api, toasts])
  const view = useView()
  const library = libraries[view]
  const { items, more, loading, error } = useStore(library)
  const [openId, setOpenId] = useState<string | null>(null)
  const at = items.findIndex(({ id }) => id === openId)
  const open = items[at]
  const empty = view === 'active' && items.length === 0 && !more

  useEffect(() => {
    setOpenId(null)
    if (library.state().items.length === 0) void library.showMore()
  }, [library])
  useEffect(() => libraries.follow(), [libraries])

  const { change, remove, restore } = actionsOn(libraries, toasts, () => setOpenId(null))

  return (
    <div class={empty ? 'frame empty' : 'frame'}>
      <Header view={view} api={api} onSignOut={onSignOut} onChange={libraries.changed} />
      <Shelf api={api} session={session} onStored={libraries.refresh} onFailure={toasts.fail} />
      <main id="gallery">
        <h1 class="unseen">{view === 'active' ? 'Library' : 'Bin'}</h1>
        {view === 'deleted' && <p class="lead">{binNote(session.retentionSeconds)}</p>}
        <Gallery
          view={view}
          items={items}
          more={more}
          loading={loading}
          error={error}
          onMore={library.showMore}
          onOpen={({ id }) => setOpenId(id)}
          onRemove={remove}
          onRestore={restore}
          onStale={({ id }) => libraries.refresh(id)}
        />
      </main>
      {open && (
        <Details
          key={open.id}
          item={open}
          before={items[at - 1]}
          after={items[at + 1]}
          onOpen={({ id }) => setOpenId(id)}
          onChange={change}
          onRemove={remove}
          onRestore={restore}
          onStale={({ id }) => libraries.refresh(id)}
          onClose={() => setOpenId(null)}
        />
      )}
      <Toasts toasts={toasts} />
    </div>
  )
}

type Libraries = ReturnType<typeof createLibraries>

/** What a visitor does with one object; a successful change is shown as a toast. */
function actionsOn(libraries: Libraries, toasts: ReturnType<typeof createToasts>, closeDetails: () => void) {
  return {
    /** Returns the promise, so that the dialog can show a refusal. */
    change: (item: MediaItem, change: Change) => libraries.change(item, change),

    async remove(item: MediaItem) {
      closeDetails()
      if (!(await libraries.remove(item))) return
      const undo = () => libraries.restore(item)
      toasts.show({ text: `“${item.originalName}” was moved to the bin.`, action: { name: 'Undo', run: undo } })
    },

    async restore(item: MediaItem) {
      closeDetails()
      if (await libraries.restore(item)) toasts.show({ text: `“${item.originalName}” was restored.` })
    },
  }
}

type View = 'active' | 'deleted'
type HeaderProps = {
  view: View
  api: Api
  onSignOut: (() => void) | null
  onChange: (listener: () => void) => () => void
}

function Header({ view, api, onSignOut, onChange }: HeaderProps) {
  const current = (wanted: View) => (view === wanted ? ('page' as const) : undefined)
  return (
    <header class="top">
      <a class="skip" href="#gallery">
        Skip to the pictures
      </a>
      <p class="brand">
        <Logo />
        Media
      </p>
      <nav aria-label="Views">
        <a href="#library" aria-current={current('active')}>
          Library
        </a>
        <a href="#bin" aria-current={current('deleted')}>
          Bin
        </a>
      </nav>
      <UsageLine api={api} onChange={onChange} />
      {onSignOut && (
        <button type="button" class="button quiet" onClick={onSignOut}>
          Sign out
        </button>
      )}
    </header>
  )
}

/** The view named in the URL fragment, so that back and forward work. */
function useView(): View {
  const read = () => (location.hash === '#bin' ? 'deleted' : 'active')
  const [view, setView] = useState<View>(read)
  useEffect(() => {
    const update = () => {
      // #gallery is the skip link, not a view.
      if (location.hash !== '#gallery') setView(read())
    }
    addEventListener('hashchange', update)
    return () => removeEventListener('hashchange', update)
  }, [])
  return view
}

function binNote(seconds: number): string {
  const days = Math.round(seconds / 86_400)
  const time = days >= 1 ? `${days} ${days === 1 ? 'day' : 'days'}` : `${Math.max(1, Math.round(seconds / 60))} minutes`
  return `Deleted files stay here for ${time}, then they are removed for good.`
}
