/** Looks at Redis as the start does, and at what it keeps when it restarts. */
import { commandsFor } from '../boot/redis.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import { probeRedis } from '../redis/probe.ts'
import type { RedisTarget } from '../redis/target.ts'
import { type ClockReading, type Examined, findingsOf, readClock } from './set-up.ts'

export async function examineRedis(
  target: RedisTarget,
  rateLimitPerMinute: number,
  now: () => number,
): Promise<Examined> {
  let clock: ClockReading | undefined
  const findings = await findingsOf(async () => {
    let found: Finding[] = [SILENT]
    clock = await readClock({ setting: 'REDIS_URL', name: 'Redis' }, now, async () => {
      const probed = await probeRedis(target, commandsFor(rateLimitPerMinute))
      if (probed === undefined) return undefined
      found = probed.found.appendOnly ? probed.findings : [...probed.findings, FORGETFUL]
      return probed.serverTime
    })
    return found
  })
  return { name: 'Redis', findings, clock }
}

const { wrong, warning } = findingsAbout('redis')
const SILENT = wrong('REDIS_URL', 'Redis does not answer', 'start it, or correct its host and port')
const FORGETFUL = warning(
  'REDIS_URL',
  'Redis keeps the stream of events in memory only, or as old as its last snapshot',
  'set appendonly yes',
)
