/** A hook for components that show state from outside. */
import { useEffect, useState } from 'preact/hooks'

type Store<T> = { state: () => T; subscribe: (listener: () => void) => () => void }

/** Returns the store's current state and re-renders the component when it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState({})
  useEffect(() => {
    redraw({})
    return store.subscribe(() => redraw({}))
  }, [store])
  return store.state()
}
