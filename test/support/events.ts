import { Redis } from 'ioredis'
import { type Channel, channels, type EventBus, type MediaEvent } from '../../src/events/events.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { createRedisEventBus, EVENT_STREAM } from '../../src/events/redis.ts'
import { createRecordingLog } from './process/recording-log.ts'

export type OpenBus = {
  bus: EventBus
  /** What has arrived so far at someone who listens to every channel. */
  received: MediaEvent[]
  /** Publishes these, and has the log forget all that was before the last of them. */
  publishAndCutOff(events: MediaEvent[]): Promise<void>
  close(): Promise<void>
}

export async function openMemory(): Promise<OpenBus> {
  const bus = createMemoryEventBus()
  const received: MediaEvent[] = []
  bus.subscribe((event) => received.push(event))
  // It keeps the last thousand by itself.
  return { bus, received, publishAndCutOff: bus.publish, close: bus.close }
}

export async function openRedis(url: string): Promise<OpenBus> {
  const { log } = createRecordingLog()
  const bus = await createRedisEventBus({ url, log })
  const received: MediaEvent[] = []
  const subscriber = new Redis(url)
  subscriber.on('message', (channel: Channel, payload) => received.push({ channel, payload: JSON.parse(payload) }))
  await subscriber.subscribe(...channels)
  return {
    bus,
    received,
    async publishAndCutOff(events) {
      await bus.publish(events)
      const writer = new Redis(url)
      const [last] = await writer.xrevrange(EVENT_STREAM, '+', '-', 'COUNT', 1)
      await writer.xtrim(EVENT_STREAM, 'MINID', last?.[0] ?? '')
      writer.disconnect()
    },
    async close() {
      subscriber.disconnect()
      await bus.close()
    },
  }
}

export function newEvent(seq: number, userId: string = crypto.randomUUID()): MediaEvent {
  const ids = { id: crypto.randomUUID(), userId, eventId: crypto.randomUUID() }
  const occurredAt = '2026-11-22T12:00:00.000Z'
  return {
    channel: 'photo:uploaded',
    payload: { ...ids, seq, occurredAt, originalName: '日本語 "🚀".jpg', width: null },
  }
}
