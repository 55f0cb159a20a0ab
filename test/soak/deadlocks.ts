import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'

/**
 * Counts the deadlocks that the database had to break, until `stop`. It forgets its count when it is killed, so it is asked
 * all the time.
 */
export function watchDeadlocks(url: string): { stop: () => Promise<number> } {
  const sql = postgres(url, { max: 1, connect_timeout: 2, backoff: () => 0.2, onnotice: () => {} })
  let over = false
  let total = 0
  let last = 0
  const look = async () => {
    const [row] = await sql<{ count: number }[]>`SELECT sum(deadlocks)::int AS count FROM pg_stat_database`
    const count = row?.count ?? 0
    total += count < last ? count : count - last
    last = count
  }
  const watching = (async () => {
    while (!over) {
      // It may be down.
      await look().catch(() => {})
      await sleep(200)
    }
    await look()
  })()
  return {
    async stop() {
      over = true
      await watching
      await sql.end({ timeout: 1 })
      return total
    },
  }
}
