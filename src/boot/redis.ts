/** Opens the event bus and the rate limiter: in Redis, or in this process. */
import type { EventBus } from '../events/events.ts'
import { createMemoryEventBus } from '../events/memory.ts'
import { createRedisEventBus, EVENT_COMMANDS } from '../events/redis.ts'
import { sentenceOf } from '../finding.ts'
import type { Limiter } from '../limits/limits.ts'
import { createMemoryLimiter } from '../limits/memory.ts'
import { createRedisLimiter, LIMITER_COMMANDS } from '../limits/redis.ts'
import type { Log } from '../log.ts'
import { probeRedis } from '../redis/probe.ts'
import type { RedisTarget, Sentinels } from '../redis/target.ts'

export type Buses = {
  events: EventBus
  /** Absent when requests are not limited. */
  limiter: Limiter | undefined
  /** For the log. */
  found: object
}

type Settings = { redisUrl: string | undefined; redisSentinels: Sentinels | undefined; rateLimitPerMinute: number }

/**
 * Redis may be down: events then wait in the outbox, and requests pass uncounted.
 * @throws Error, a sentence that names the setting
 */
export async function openBuses(settings: Settings, log: Log, closers: (() => void | Promise<void>)[]): Promise<Buses> {
  const { redisUrl, redisSentinels, rateLimitPerMinute: limit } = settings
  if (redisUrl === undefined) {
    const events = createMemoryEventBus()
    closers.push(events.close)
    return { events, limiter: limit === 0 ? undefined : createMemoryLimiter({ limit }), found: { name: events.name } }
  }
  const at: RedisTarget = { url: redisUrl, sentinels: redisSentinels }
  const probed = await probeRedis(at, commandsFor(limit))
  for (const finding of probed?.findings ?? []) log.warn(`redis: ${sentenceOf(finding)}`)
  const found = probed?.found
  const target: RedisTarget = { ...at, cluster: found && found.mode === 'cluster' }
  const events = await createRedisEventBus({ ...target, log })
  closers.push(events.close)
  const limiter = limit === 0 ? undefined : await createRedisLimiter({ ...target, limit, log, now: Date.now })
  if (limiter !== undefined) closers.push(limiter.close)
  return { events, limiter, found: { name: events.name, ...found } }
}

/** In groups, whose keys are on one node of a cluster. */
export function commandsFor(rateLimitPerMinute: number) {
  return rateLimitPerMinute === 0 ? [EVENT_COMMANDS] : [EVENT_COMMANDS, LIMITER_COMMANDS]
}
