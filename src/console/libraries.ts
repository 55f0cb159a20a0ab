/** The lists of active and of deleted objects, with optimistic moves between them. */
import { type Api, type Change, type MediaItem, WIDTHS } from './api.ts'
import { createLibrary } from './library.ts'
import { type Change as LiveChange, watch } from './live.ts'

/** @param onFailure called with the error of a failed change */
export function createLibraries(api: Api, onFailure: (error: Error) => void) {
  const active = createLibrary(api, 'active')
  const deleted = createLibrary(api, 'deleted')
  const listeners = new Set<() => void>()

  const changed = () => {
    for (const listener of listeners) listener()
  }

  /** Refreshes one active object from the service. */
  async function fetchItem(id: string): Promise<void> {
    active.put(await api.get(id, { renditions: WIDTHS }))
    changed()
  }

  /** Whether the change succeeded; a failed one is rolled back here as well. */
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

    /** Subscribes to every change. */
    changed(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },

    /**
     * The links of the object may change.
     * @throws MediaError
     */
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

    /** Follows changes made in other tabs and on other devices until the returned function is called. */
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
      // A deleted object that is not loaded here is only known from the list of deleted ones.
      if (known !== undefined) deleted.put({ ...known, status: 'deleted' })
      else if (!deleted.has(id)) await deleted.reload()
    } else {
      deleted.drop(id)
      // The object may be gone again; another event then says so.
      await fetchItem(id).catch(() => {})
    }
  }
}
