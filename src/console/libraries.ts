/** What is there and what is in the bin, and the ways between them: here at once, and at the service. */
import type { Api, Change, MediaItem } from './api.ts'
import { createLibrary, WITH_RENDITIONS } from './library.ts'

// Changes come in bursts: what is asked for within this time is asked for together.
const TOGETHER_MS = 80
const MOST_IDS = 100
const LOOK_MS = 3000

/** @param onFailure told why something did not happen */
export function createLibraries(api: Api, onFailure: (error: Error) => void) {
  const active = createLibrary(api, 'active')
  const deleted = createLibrary(api, 'deleted')
  const listeners = new Set<() => void>()
  const wanted = new Set<string>()

  const changed = () => {
    for (const listener of listeners) listener()
  }

  async function fetchWanted(): Promise<void> {
    const ids = [...wanted].slice(0, MOST_IDS)
    for (const id of ids) wanted.delete(id)
    if (wanted.size > 0) setTimeout(fetchWanted, TOGETHER_MS)
    try {
      const { items } = await api.list({ ids: ids.join(','), ...WITH_RENDITIONS })
      active.put(items)
      changed()
    } catch (error) {
      onFailure(error as Error)
    }
  }

  /** Has an object that is there shown as it is now. */
  function refresh(id: string): void {
    if (wanted.size === 0) setTimeout(fetchWanted, TOGETHER_MS)
    wanted.add(id)
  }

  /** Whether it worked; where not, it is undone here, too. */
  async function attempt(call: () => Promise<unknown>, undo: () => void): Promise<boolean> {
    try {
      await call()
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
    refresh,

    /** Calls back after each change, of whatever kind. */
    changed(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },

    /** @throws Refusal */
    async change(item: MediaItem, change: Change): Promise<void> {
      const answer = await api.update(item.id, change)
      active.put([{ ...item, ...answer }])
    },

    remove(item: MediaItem): Promise<boolean> {
      active.drop(item.id)
      deleted.put([{ ...item, status: 'deleted' }])
      return attempt(
        () => api.remove(item.id),
        () => {
          deleted.drop(item.id)
          active.put([item])
        },
      )
    },

    restore(item: MediaItem): Promise<boolean> {
      deleted.drop(item.id)
      return attempt(
        async () => {
          await api.restore(item.id)
          refresh(item.id)
        },
        () => deleted.put([item]),
      )
    },

    /** Looks every few seconds at what other tabs and devices did, until what it returns is called. */
    follow(): () => void {
      const look = () => {
        if (document.hidden) return
        Promise.all([active.look(), deleted.look()]).then(([here, there]) => {
          if (here || there) changed()
        }, ignore)
      }
      const timer = setInterval(look, LOOK_MS)
      document.addEventListener('visibilitychange', look)
      return () => {
        clearInterval(timer)
        document.removeEventListener('visibilitychange', look)
      }
    },
  }
}

/** What is not seen this time is seen the next time. */
function ignore(): void {}
