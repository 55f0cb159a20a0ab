/** Components that follow what is not theirs. */
import { useEffect, useState } from 'preact/hooks'

type Store<T> = { state: () => T; subscribe: (listener: () => void) => () => void }

/** The store's present state; the component is drawn again whenever it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState({})
  useEffect(() => {
    redraw({})
    return store.subscribe(() => redraw({}))
  }, [store])
  return store.state()
}
