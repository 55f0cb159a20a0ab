/** What the gallery shows: pages of the list so far, newest first, kept right while things happen. */
import type { Api, MediaItem } from './api.ts'

export type LibraryState = {
  items: readonly MediaItem[]
  /** Whether there is more to ask for. */
  more: boolean
  loading: boolean
  /** Why the last page did not come. */
  error: Error | null
}
export type Library = ReturnType<typeof createLibrary>

/** The widths that tiles and the large view choose from, asked for with every object. */
export const WITH_RENDITIONS = { renditions: '320,640,1280,2560' }

const PAGE = '60'

/** @param status which of the caller's objects it is about */
export function createLibrary(api: Pick<Api, 'list'>, status: 'active' | 'deleted') {
  let state: LibraryState = { items: [], more: true, loading: false, error: null }
  let cursor: string | null = null
  let begun = false
  let edits = 0
  const listeners = new Set<() => void>()

  function set(change: Partial<LibraryState>): void {
    state = { ...state, ...change }
    for (const listener of listeners) listener()
  }

  /** Newer than the last one that is shown, or shown already: what is older comes with its page. */
  const belongs = ({ id }: MediaItem) => !state.more || id >= (state.items.at(-1)?.id ?? '')

  function put(items: readonly MediaItem[]): void {
    edits += 1
    const known = new Map(state.items.map((item) => [item.id, item]))
    for (const item of items) if (belongs(item)) known.set(item.id, item)
    // Ids are UUIDs of version 7, which grow with time.
    set({ items: [...known.values()].sort((a, b) => (a.id < b.id ? 1 : -1)) })
  }

  async function showMore(): Promise<void> {
    if (state.loading || !state.more) return
    set({ loading: true, error: null })
    try {
      const page = await api.list({ limit: PAGE, status, ...WITH_RENDITIONS, ...(cursor !== null && { cursor }) })
      cursor = page.nextCursor
      begun = true
      const shown = new Set(page.items.map(({ id }) => id))
      const items = [...state.items.filter(({ id }) => !shown.has(id)), ...page.items]
      set({ items: items.sort((a, b) => (a.id < b.id ? 1 : -1)), more: cursor !== null, loading: false })
    } catch (error) {
      set({ loading: false, error: error as Error })
    }
  }

  return {
    state: () => state,
    /** @returns what ends it */
    subscribe(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    showMore,
    put,
    /** Takes one out of what is shown, and returns it. */
    drop(id: string): MediaItem | undefined {
      edits += 1
      const found = state.items.find((item) => item.id === id)
      if (found !== undefined) set({ items: state.items.filter((item) => item !== found) })
      return found
    },
    /** Compares what is shown of the newest with what there is by now, and says whether it was something else. */
    async look(): Promise<boolean> {
      if (!begun || state.loading) return false
      const changes = edits
      const page = await api.list({ limit: PAGE, status, ...WITH_RENDITIONS })
      // What was done here meanwhile is newer than the answer.
      if (edits !== changes) return false
      const last = page.nextCursor ?? ''
      const before = state.items.filter(({ id }) => id >= last)
      const isSame = before.length === page.items.length && before.every((item, i) => isAlike(item, page.items[i]))
      if (!isSame) set({ items: [...page.items, ...state.items.filter(({ id }) => id < last)] })
      return !isSame
    },
  }
}

function isAlike(a: MediaItem, b: MediaItem | undefined): boolean {
  return (
    a.id === b?.id &&
    a.originalName === b.originalName &&
    a.visibility === b.visibility &&
    a.metadata.thumbHash === b.metadata.thumbHash
  )
}
