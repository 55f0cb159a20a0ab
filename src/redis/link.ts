/** A client of Redis that is replaced when the server turns out to be a cluster, and led elsewhere after a failover. */
import { Cluster, Redis } from 'ioredis'
import { createClient, modeIn, type RedisClient, readInfo } from './client.ts'
import { isElsewhere } from './errors.ts'
import type { RedisTarget } from './target.ts'

export type RedisLink = {
  readonly client: RedisClient
  readonly target: RedisTarget
  /** Connects anew if the failure says that another server may take what this one did not. */
  failed(error: unknown): void
  close(): void
}

const RECONNECT_MS = 1000

/**
 * Connects in the background and reconnects without end; resolves when the first attempt has succeeded or failed.
 * @param set is given each new client before it connects
 */
export async function openLink(
  given: RedisTarget,
  deadlineMs: number,
  set: (client: RedisClient) => void,
): Promise<RedisLink> {
  let target = given
  let closed = false
  let reconnectedAt = Number.NEGATIVE_INFINITY

  function open(): RedisClient {
    const opened = createClient(target, {
      connectTimeout: 1000,
      commandTimeout: deadlineMs,
      socketTimeout: 1000,
      maxRetriesPerRequest: deadlineMs < 1000 ? 0 : 1,
      retryStrategy: (attempt) => Math.min(attempt * 100, 2000),
    })
    set(opened)
    // Each start without Redis is one without knowing what it is.
    if (opened instanceof Redis && target.cluster === undefined)
      opened.on('ready', () => void becomeCluster(opened).catch(() => {}))
    return opened
  }

  async function becomeCluster(old: Redis): Promise<void> {
    const mode = modeIn(await readInfo(old, 'server'))
    if (closed || client !== old || mode === undefined) return
    target = { ...target, cluster: mode === 'cluster' }
    if (!target.cluster) return
    client = open()
    old.disconnect()
    await client.connect()
  }

  let client = open()
  await client.connect().catch(() => {})

  return {
    get client() {
      return client
    },
    get target() {
      return target
    },
    failed(error) {
      if (closed || !isElsewhere(error) || performance.now() - reconnectedAt < RECONNECT_MS) return
      reconnectedAt = performance.now()
      if (client instanceof Cluster) client.refreshSlotsCache()
      else client.disconnect(true)
    },
    close() {
      closed = true
      client.disconnect()
    },
  }
}
