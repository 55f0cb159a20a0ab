/** Counts requests that did not wait for it: those of some milliseconds go to Redis in one command. */
import { MOST_KEYS, type SendCounts } from './gather-counts.ts'
import type { KnownStanding } from './standings.ts'

const GATHER_MS = 10

export type CountBehind = {
  /** Counts one more request, which has passed already. */
  add(key: string, standing: KnownStanding): void
  /** Sends what has gathered, if this key is among it: a count that is sent after it includes it. */
  sendIfAny(key: string): void
  /** Sends what has gathered; resolves when it is counted, or has failed. */
  send(): Promise<void>
}

/** @param onFailure called when a command failed: its requests stay uncounted */
export function countBehind(sendCounts: SendCounts, onFailure: (error: unknown) => void): CountBehind {
  let gathered = new Map<string, { standing: KnownStanding; more: number }>()
  let timer: ReturnType<typeof setTimeout> | undefined

  async function send(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const batch = gathered
    if (batch.size === 0) return
    gathered = new Map()
    const all = [...batch.values()]
    try {
      const answers = await sendCounts(new Map([...batch].map(([key, { more }]) => [key, more])))
      for (const [i, { standing, more }] of all.entries()) {
        standing.ahead -= more
        const answer = answers[i]
        if (answer !== undefined) standing.place = answer.place + standing.ahead
      }
    } catch (error) {
      for (const { standing, more } of all) standing.ahead -= more
      onFailure(error)
    }
  }

  return {
    add(key, standing) {
      standing.place += 1
      standing.ahead += 1
      const same = gathered.get(key)
      if (same?.standing === standing) same.more += 1
      else {
        // Of a window that has ended, or of too many keys for one command.
        if (same !== undefined || gathered.size === MOST_KEYS) void send()
        gathered.set(key, { standing, more: 1 })
      }
      timer ??= setTimeout(() => void send(), GATHER_MS)
    },

    sendIfAny(key) {
      if (gathered.has(key)) void send()
    },

    send,
  }
}
