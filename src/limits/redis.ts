/**
 * The rate limiter in Redis, which counts for all replicas together. Up to half of the limit, a request whose key was
 * counted before passes at once, and its count follows within milliseconds; from there on, each waits for Redis'
 * answer. So one replica never lets more than the limit pass. A burst at several replicas within those milliseconds can
 * pass half of the limit more for each further one.
 */
import type { ClientContext, Result } from 'ioredis'
import type { Log } from '../log.ts'
import { openLink, type RedisLink } from '../redis/link.ts'
import type { RedisCommand } from '../redis/rehearse.ts'
import type { RedisTarget } from '../redis/target.ts'
import { begin, beginForRequest, unrecorded } from '../telemetry/record.ts'
import { countBehind } from './count-behind.ts'
import { gatherCounts, type Standing } from './gather-counts.ts'
import { type Allowance, type Limiter, WINDOW_SECONDS } from './limits.ts'
import { createStandings } from './standings.ts'

const DEADLINE_MS = 250
// After a failed call, Redis is not asked for this long, so that an outage does not slow requests down.
const PASS_MS = 5000
const PREFIX = 'media:limit:'
// A script counts several keys, which a cluster keeps on one node by what is in braces.
const CLUSTER_PREFIX = 'media:{limit}:'
// With fewer requests left, each waits for Redis' answer, so that a small limit is exact at all replicas together.
const FEW = 50
// A key's window begins with its first request. A key without an expiry, which nothing here creates, is given one.
const SCRIPT = `local standings = {}
for i, key in ipairs(KEYS) do
  local place = redis.call('INCRBY', key, ARGV[i + 1])
  local left = redis.call('PTTL', key)
  if left < 0 then
    left = tonumber(ARGV[1])
    redis.call('PEXPIRE', key, left)
  end
  standings[2 * i - 1] = place
  standings[2 * i] = left
end
return standings`

/** All that the limiter does, for finding out about the user's rights. */
export const LIMITER_COMMANDS: readonly RedisCommand[] = [
  ['evalsha', '0'.repeat(40), 1, `${PREFIX}check`],
  ['eval', SCRIPT, 1, `${PREFIX}check`],
  ['incrby', `${PREFIX}check`, 1],
  ['pttl', `${PREFIX}check`],
  ['pexpire', `${PREFIX}check`, 1],
]

declare module 'ioredis' {
  interface RedisCommander<Context extends ClientContext = { type: 'default' }> {
    /** `given`: the keys (as many as `keys`), then the window in milliseconds, then the number to add to each key. */
    countRequests(keys: number, given: (string | number)[]): Result<number[], Context>
  }
}

type Deps = RedisTarget & {
  limit: number
  log: Log
  /** Milliseconds, any epoch. */
  now: () => number
}

/**
 * Connects in the background and reconnects without end; resolves when the first attempt has succeeded or failed. While
 * there is no connection, requests pass.
 */
export async function createRedisLimiter({ limit, log, now, ...target }: Deps): Promise<Limiter> {
  const link = await openLink(target, DEADLINE_MS, (client) => {
    client.defineCommand('countRequests', { lua: SCRIPT })
    // `take` logs each outage, once.
    client.on('error', () => {})
  })
  const sendCounts = (counts: ReadonlyMap<string, number>) => unrecorded(() => send(link, counts))
  const count = gatherCounts(sendCounts)
  const behind = countBehind(sendCounts, fail)
  const standings = createStandings(now)
  const mostAhead = limit - Math.max(limit / 2, FEW)
  let passUntil = 0
  let counting = true

  function fail(error: unknown): void {
    link.failed(error)
    if (counting) log.warn({ err: error }, 'limits: Redis does not answer, requests pass without being counted')
    counting = false
    passUntil = now() + PASS_MS
  }

  async function ask(key: string): Promise<Allowance | null> {
    behind.sendIfAny(key)
    // One request finds out whether Redis is back; concurrent ones do not wait for it.
    if (!counting) passUntil = now() + PASS_MS
    const end = beginForRequest('limits')
    try {
      const standing = await count(key)
      if (!counting) log.info('limits: requests are counted again')
      counting = true
      passUntil = 0
      end()
      standings.note(key, standing)
      return allowanceAt(standing, limit)
    } catch (error) {
      end(true)
      fail(error)
      return null
    }
  }

  return {
    limit,

    async take(key) {
      if (now() < passUntil) return null
      const known = counting ? standings.get(key) : undefined
      if (known === undefined || (known.place >= mostAhead && known.place <= limit)) return ask(key)
      if (known.place < mostAhead) behind.add(key, known)
      return allowanceAt({ place: known.place, msLeft: known.until - now() }, limit)
    },

    async close() {
      await behind.send()
      link.close()
    },
  }
}

/** One step for the metrics, regardless of the number of requests. */
async function send({ client, target }: RedisLink, counts: ReadonlyMap<string, number>): Promise<Standing[]> {
  const end = begin('limits')
  try {
    const prefix = target.cluster ? CLUSTER_PREFIX : PREFIX
    const keys = [...counts.keys()].map((key) => prefix + key)
    const figures = await client.countRequests(keys.length, [...keys, WINDOW_SECONDS * 1000, ...counts.values()])
    end()
    return keys.map((_, i) => ({ place: Number(figures[2 * i]), msLeft: Number(figures[2 * i + 1]) }))
  } catch (error) {
    end(true)
    throw error
  }
}

function allowanceAt({ place, msLeft }: Standing, limit: number): Allowance {
  return {
    allowed: place <= limit,
    remaining: Math.max(0, limit - place),
    resetSeconds: Math.max(1, Math.ceil(msLeft / 1000)),
  }
}
