// Publishes an event, follows it, and counts a caller, as the settings of the environment say; writes what came of it.
import { openBuses } from '../../src/boot/redis.ts'
import { parseSentinels } from '../../src/redis/target.ts'
import { newEvent } from '../support/events.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'

const { redisUrl, sentinels } = JSON.parse(process.env.SETTINGS ?? '{}')
const redisSentinels = sentinels === undefined ? undefined : parseSentinels(sentinels)
const settings = { redisUrl, redisSentinels, rateLimitPerMinute: 100 }
const closers: (() => void | Promise<void>)[] = []
try {
  console.log(JSON.stringify(await useBuses()))
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }))
}
for (const close of closers.reverse()) await close()
process.exit()

async function useBuses(): Promise<object> {
  const { events, limiter, found } = await openBuses(settings, createRecordingLog().log, closers)
  const user = crypto.randomUUID()
  const ending = new AbortController()
  const followed = (await events.follow(user, { after: undefined, ending, silenceMs: 60_000 }))[Symbol.asyncIterator]()
  await followed.next()
  await events.publish([newEvent(1, user)])
  const { value } = await followed.next()
  const { remaining } = (await limiter?.take('somebody')) ?? {}
  ending.abort()
  return { ...('mode' in found && { mode: found.mode }), followed: value.kind, remaining }
}
