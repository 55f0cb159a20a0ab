/** The lists of active and of deleted objects, with optimistic moves between them. */
import { type Api, type Change, type MediaItem, WIDTHS } from './api.ts'
import { createLibrary, type Library } from './library.ts'
import { type LiveChange, watch } from './live.ts'

/** Both lists; `changed` tells their listeners. */
type Lists = { api: Api; active: Library; deleted: Library; changed: () => void }

/** @param onFailure called with the error of a failed change */
export function createLibraries(api: Api, onFailure: (error: Error) => void) {
  const active = createLibrary(api, 'active')
  const deleted = createLibrary(api, 'deleted')
  const listeners = new Set<() => void>()
  const changed = () => {
    for (const listener of listeners) listener()
  }
  const lists: Lists = { api, active, deleted, changed }
  return {
    active,
    deleted,
    refresh: (id: string) => void fetchItem(lists, id).catch(onFailure),

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
      await fetchItem(lists, id)
    },

    remove: (item: MediaItem) => remove(lists, item, onFailure),
    restore: (item: MediaItem) => restore(lists, item, onFailure),

    /** Follows changes made in other tabs and on other devices until the returned function is called. */
    follow: () =>
      watch(api, {
        async onChange(change) {
          await show(lists, change)
          changed()
        },
        async onMissed() {
          await Promise.all([active.reload(), deleted.reload()])
          changed()
        },
        onFailure,
      }),
  }
}

/** Refreshes one active object from the service. */
async function fetchItem({ api, active, changed }: Lists, id: string): Promise<void> {
  active.put(await api.get(id, { renditions: WIDTHS }))
  changed()
}

type OnFailure = (error: Error) => void

/** Moves the object to the bin; false when the service refused, after moving it back. */
function remove({ api, active, deleted, changed }: Lists, item: MediaItem, onFailure: OnFailure): Promise<boolean> {
  active.drop(item.id)
  deleted.put({ ...item, status: 'deleted' })
  return attempt({
    work: () => api.remove(item.id),
    changed,
    undo(error) {
      deleted.drop(item.id)
      active.put(item)
      onFailure(error)
    },
  })
}

/** Moves the object out of the bin; false when the service refused, after moving it back. */
function restore(lists: Lists, item: MediaItem, onFailure: OnFailure): Promise<boolean> {
  lists.deleted.drop(item.id)
  return attempt({
    async work() {
      await lists.api.restore(item.id)
      await fetchItem(lists, item.id)
    },
    changed: lists.changed,
    undo(error) {
      lists.deleted.put(item)
      onFailure(error)
    },
  })
}

type Attempt = { work: () => Promise<void>; changed: () => void; undo: OnFailure }

async function attempt({ work, changed, undo }: Attempt): Promise<boolean> {
  try {
    await work()
    changed()
    return true
  } catch (error) {
    undo(error as Error)
    return false
  }
}

async function show(lists: Lists, { channel, payload: { id } }: LiveChange): Promise<void> {
  const { active, deleted } = lists
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
    await fetchItem(lists, id).catch(() => {})
  }
}
