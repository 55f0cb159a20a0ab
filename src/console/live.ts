/** Follows changes made in other tabs and on other devices. */
import type { Api, LiveEvent } from './api.ts'

export type LiveChange = Exclude<LiveEvent, { channel: 'reset' }>
export type Watcher = {
  onChange: (change: LiveChange) => Promise<void>
  /** Called when changes were missed: reload everything. */
  onMissed: () => Promise<void>
  onFailure: (error: Error) => void
}

/**
 * Follows events while the tab is visible, until the returned function is called. A hidden tab closes its connection:
 * over HTTP/1.1 a browser has six for all tabs of an origin, and uploads need them.
 */
export function watch(api: Pick<Api, 'events'>, { onChange, onMissed, onFailure }: Watcher): () => void {
  let lastEventId: string | undefined
  let connection: AbortController | undefined

  async function follow(signal: AbortSignal): Promise<void> {
    for await (const event of api.events({ signal, ...(lastEventId !== undefined && { lastEventId }) })) {
      lastEventId = event.id
      // One at a time, because the next event may be about the same object.
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
    // Without a position to resume from, the service does not send what happened meanwhile.
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
