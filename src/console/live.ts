/** What other tabs and devices do, as it happens. */
import type { Api, LiveEvent } from './api.ts'

export type Change = Exclude<LiveEvent, { channel: 'reset' }>
export type Watcher = {
  onChange: (change: Change) => Promise<void>
  /** Changes were missed: everything may be different. */
  onMissed: () => Promise<void>
  onFailure: (error: Error) => void
}

/**
 * Follows while the tab is seen, until what it returns is called. A hidden one lets its connection go: over HTTP/1.1 a
 * browser has six for all tabs of an origin, uploads among them.
 */
export function watch(api: Pick<Api, 'events'>, { onChange, onMissed, onFailure }: Watcher): () => void {
  let lastEventId: string | undefined
  let connection: AbortController | undefined

  async function follow(signal: AbortSignal): Promise<void> {
    for await (const event of api.events({ signal, ...(lastEventId !== undefined && { lastEventId }) })) {
      lastEventId = event.id
      // The next event may be about the same object, so each in its turn.
      await (event.channel === 'reset' ? onMissed() : onChange(event)).catch(onFailure)
    }
  }

  function start(): void {
    const own = new AbortController()
    connection = own
    follow(own.signal).catch((error) => {
      if (!own.signal.aborted) onFailure(error)
    })
  }

  function update(): void {
    connection?.abort()
    if (document.hidden) return
    // Without a place to go on from, what happened meanwhile is not told.
    if (connection !== undefined && lastEventId === undefined) void onMissed().catch(onFailure)
    start()
  }

  update()
  document.addEventListener('visibilitychange', update)
  return () => {
    document.removeEventListener('visibilitychange', update)
    connection?.abort()
  }
}
