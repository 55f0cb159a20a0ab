/** What is there and what is in the bin, and the ways between them: here at once, and at the service. */
import { type Api, type Change, type MediaItem, WIDTHS } from './api.ts'
import { createLibrary } from './library.ts'
import { type Change as LiveChange, watch } from './live.ts'

/** @param onFailure told why something did not happen */
export function createLibraries(api: Api, onFailure: (error: Error) => void) {
  const active = createLibrary(api, 'active')
  const deleted = createLibrary(api, 'deleted')
  const listeners = new Set<() => void>()

  const changed = () => {
    for (const listener of listeners) listener()
  }

  /** Shows an object that is there as it is now. */
  async function fetchItem(id: string): Promise<void> {
    active.put(await api.get(id, { renditions: WIDTHS }))
    changed()
  }

  /** Whether it worked; where not, it is undone here, too. */
  async function attempt(work: () => Promise<void>, undo: () => void): Promise<boolean> {
    try {
      await work()
      changed()
      return true
    } catch (error) {
      undo()
      onFailure(error as Error)
      return false
    }
  }

  return {
    active,
    deleted,
    refresh: (id: string) => void fetchItem(id).catch(onFailure),

    /** Calls back after each change, of whatever kind. */
    changed(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },

    /** Throws MediaError. Its links may be others afterwards. */
    async change({ id }: MediaItem, change: Change): Promise<void> {
      await api.update(id, change)
      await fetchItem(id)
    },

    remove(item: MediaItem): Promise<boolean> {
      active.drop(item.id)
      deleted.put({ ...item, status: 'deleted' })
      return attempt(
        () => api.remove(item.id),
        () => {
          deleted.drop(item.id)
          active.put(item)
        },
      )
    },

    restore(item: MediaItem): Promise<boolean> {
      deleted.drop(item.id)
      return attempt(
        async () => {
          await api.restore(item.id)
          await fetchItem(item.id)
        },
        () => deleted.put(item),
      )
    },

    /** Shows what other tabs and devices do, until what it returns is called. */
    follow: () =>
      watch(api, {
        async onChange(change) {
          await show(change)
          changed()
        },
        async onMissed() {
          await Promise.all([active.reload(), deleted.reload()])
          changed()
        },
        onFailure,
      }),
  }

  async function show({ channel, payload: { id } }: LiveChange): Promise<void> {
    if (channel === 'photo:purged') {
      active.drop(id)
      deleted.drop(id)
    } else if (channel === 'photo:deleted') {
      const known = active.drop(id)
      // Of what is not shown here there is only the bin's own list to tell.
      if (known !== undefined) deleted.put({ ...known, status: 'deleted' })
      else if (!deleted.has(id)) await deleted.reload()
    } else {
      deleted.drop(id)
      // It may be gone again by now; then another event says so.
      await fetchItem(id).catch(() => {})
    }
  }
}
