/** The loaded pages of one list of objects, newest first, kept up to date. */
import { type Api, type MediaItem, WIDTHS } from './api.ts'

export type LibraryState = {
  items: readonly MediaItem[]
  /** Whether more pages may exist. */
  more: boolean
  loading: boolean
  /** The error of the last page request. */
  error: Error | null
}

const PAGE = 60

export type Library = ReturnType<typeof createLibrary>

/** @param status of the listed objects */
export function createLibrary(api: Pick<Api, 'list'>, status: MediaItem['status']) {
  let state: LibraryState = { items: [], more: true, loading: false, error: null }
  // The last object of the last page.
  let cursor: string | undefined
  // Incremented when the list is replaced: pages requested before that are discarded.
  let edition = 0
  const listeners = new Set<() => void>()

  function set(change: Partial<LibraryState>): void {
    state = { ...state, ...change }
    for (const listener of listeners) listener()
  }

  async function showMore(): Promise<void> {
    if (state.loading || !state.more) return
    set({ loading: true, error: null })
    const asked = edition
    try {
      const items = await page(api, status, cursor)
      if (asked !== edition) return set({ loading: false })
      cursor = items.at(-1)?.id ?? cursor
      set({ items: merged(state.items, items), more: items.length === PAGE, loading: false })
    } catch (error) {
      set({ loading: false, error: error as Error })
    }
  }

  return {
    state: () => state,
    /** @returns the unsubscribe function */
    subscribe(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    showMore,

    /** Adds or replaces one object; objects older than the last page come with their own page. */
    put(item: MediaItem): void {
      if (!state.more || item.id >= (cursor ?? '')) set({ items: merged(state.items, [item]) })
    },

    /** Removes one object; undefined when it was not in the list. */
    drop(id: string): MediaItem | undefined {
      const found = state.items.find((item) => item.id === id)
      if (found !== undefined) set({ items: state.items.filter((item) => item !== found) })
      return found
    },

    has: (id: string) => state.items.some((item) => item.id === id),

    /** Reloads the list, if any page was requested before. */
    async reload(): Promise<void> {
      if (state.more && cursor === undefined) return
      const items = await page(api, status, undefined)
      edition += 1
      cursor = items.at(-1)?.id
      set({ items, more: items.length === PAGE })
    },
  }
}

/** The page after this id; the first one without. */
async function page(api: Pick<Api, 'list'>, status: MediaItem['status'], after: string | undefined) {
  const items: MediaItem[] = []
  const query = { status, renditions: WIDTHS, pageSize: PAGE }
  for await (const item of api.list(after === undefined ? query : { ...query, cursor: after })) {
    items.push(item)
    if (items.length === PAGE) break
  }
  return items
}

/** Newest first: ids are UUIDv7, which grow with time. */
function merged(before: readonly MediaItem[], items: readonly MediaItem[]): MediaItem[] {
  const byId = new Map([...before, ...items].map((item) => [item.id, item]))
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1))
}
