import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { MediaEvent } from '../../src/events/events.ts'
import type { ChangedObject } from '../../src/media/object/object.ts'
import { createRelay, type Relay } from '../../src/media/outbox/relay.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { arrived, callerOf, changed, newObject } from '../support/media/objects.ts'
import { createSwitchableBus, type SwitchableBus } from '../support/media/switchable-bus.ts'
import { createRecordingLog, type Line } from '../support/process/recording-log.ts'
import type { OpenDatabase } from '../support/services/databases.ts'
import { openPGlite } from '../support/services/pglite.ts'

let database: OpenDatabase
let repository: Repository
let bus: SwitchableBus
let relay: Relay
let lines: Line[]
beforeAll(async () => {
  database = await openPGlite({ migrated: true })
  repository = createRepository({ sql: database.sql, pendingSeconds: 100, retentionSeconds: 1000 })
}, 60_000)
afterAll(() => database.close(), 30_000)
beforeEach(async () => {
  await database.sql`DELETE FROM media_objects`
  bus = createSwitchableBus()
  const recording = createRecordingLog()
  lines = recording.lines
  relay = createRelay({ repository, events: bus, log: recording.log })
})

/** An active object that owes its first event. */
async function newActive(): Promise<ChangedObject> {
  const object = newObject()
  await repository.uploads.insert(object)
  return (await repository.uploads.activate(object.id, arrived)) ?? expect.unreachable()
}

const rename = async (row: ChangedObject, originalName: string) =>
  (await repository.objects.update(row.id, callerOf(row), { originalName, publicKey: null }, changed)) ??
  expect.unreachable()

async function owed(): Promise<MediaEvent[]> {
  const rows = await database.sql<{ outbox: MediaEvent[] }[]>`SELECT outbox FROM media_objects ORDER BY id`
  return rows.flatMap(({ outbox }) => outbox)
}

/** As if the time had passed after which the relay may send what somebody else has not. */
const makeDue = async () => {
  await database.sql`UPDATE media_objects SET outbox_due_at = now() WHERE outbox_due_at IS NOT NULL`
}

const seqsOf = (row: { id: string }) =>
  bus.sent.filter(({ payload }) => payload.id === row.id).map(({ payload }) => payload.seq)

/** Without what was sent more than once, which consumers drop. */
const firstSeqsOf = (row: { id: string }) => [...new Set(seqsOf(row))]

describe('announce', () => {
  test('sends what a changed row owes and takes it off the row', async () => {
    const row = await newActive()
    relay.announce(row)
    await relay.stop()
    expect(bus.sent).toEqual(row.outbox)
    expect(await owed()).toEqual([])
  })

  test('never throws, and leaves what could not be sent on the row', async () => {
    const row = await newActive()
    bus.fail()
    relay.announce(row)
    await relay.stop()
    expect(bus.sent).toEqual([])
    expect(await owed()).toEqual(row.outbox)
    expect(lines.map(({ level, err }) => [level, err?.message])).toEqual([[40, 'the bus is down']])
  })

  test('after a failure sends what is still owed before the next change of the object', async () => {
    const row = await newActive()
    bus.fail()
    relay.announce(row)
    await relay.stop()
    bus.work()
    relay.announce(await rename(row, 'second.jpg'))
    await relay.stop()
    expect(seqsOf(row)).toEqual([1, 2])
  })

  test('after a failure holds nothing back in memory: the rows know what they owe', async () => {
    bus.fail()
    for (const row of [await newActive(), await newActive()]) relay.announce(row)
    await relay.stop()
    bus.work()
    const row = await newActive()
    relay.announce(row)
    await relay.stop()
    expect(bus.sent).toEqual(row.outbox)
    expect(await owed()).toHaveLength(2)
  })

  test('sends in the order in which rows were announced', async () => {
    const rows = [await newActive(), await newActive(), await newActive()]
    bus.hold()
    for (const row of rows) relay.announce(row)
    bus.work()
    await relay.stop()
    expect(bus.sent).toEqual(rows.flatMap(({ outbox }) => outbox))
    expect(await owed()).toEqual([])
  })

  test('neither loses nor reorders a second change that happens while the first is being sent', async () => {
    const row = await newActive()
    bus.hold()
    relay.announce(row)
    const again = await rename(row, 'second.jpg')
    relay.announce(again)
    bus.work()
    await relay.stop()
    expect(firstSeqsOf(row)).toEqual([1, 2])
    expect(await owed()).toEqual([])
  })

  test('leaves a second change that nobody has announced to the relay', async () => {
    const row = await newActive()
    bus.hold()
    relay.announce(row)
    await rename(row, 'second.jpg')
    bus.work()
    await relay.stop()
    expect(seqsOf(row)).toEqual([1])
    expect(await relay.run()).toBe(1)
    expect(seqsOf(row)).toEqual([1, 2])
  })
})

describe('run', () => {
  test('sends what is due, in order for each object, and says how many events that were', async () => {
    const [one, two] = [await newActive(), await newActive()]
    for (const name of ['b.jpg', 'c.jpg']) {
      await rename(one, name)
      await rename(two, name)
    }
    await makeDue()
    expect(await relay.run()).toBe(6)
    expect([seqsOf(one), seqsOf(two)]).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ])
    expect(await owed()).toEqual([])
    expect(await relay.run()).toBe(0)
  })

  test('leaves events that are not due to the replica that made the change', async () => {
    await newActive()
    expect(await relay.run()).toBe(0)
    expect(await owed()).toHaveLength(1)
  })

  test('goes on until nothing is due, however much that is', async () => {
    const ids = Array.from({ length: 250 }, () => newObject())
    for (const object of ids) await repository.uploads.insert(object)
    await database.sql`
      UPDATE media_objects SET outbox_due_at = now(), outbox = jsonb_build_array(jsonb_build_object(
        'channel', 'photo:updated', 'payload', jsonb_build_object('id', id, 'eventId', gen_random_uuid(), 'seq', 1)))`
    expect(await relay.run()).toBe(250)
    expect(new Set(bus.sent.map(({ payload }) => payload.id)).size).toBe(250)
    expect(await owed()).toEqual([])
  }, 20_000)

  test('throws while the bus is down, keeps everything owed, and sends it in order afterwards', async () => {
    const row = await newActive()
    await makeDue()
    bus.fail()
    expect((await refusal(relay.run())).message).toBe('the bus is down')
    await rename(row, 'second.jpg')
    await makeDue()
    expect((await refusal(relay.run())).message).toBe('the bus is down')
    expect(await owed()).toHaveLength(2)
    bus.work()
    await makeDue()
    expect(await relay.run()).toBe(2)
    expect(seqsOf(row)).toEqual([1, 2])
  })

  test('does not let a second replica send what one is just sending', async () => {
    const row = await newActive()
    await makeDue()
    bus.hold()
    const first = relay.run()
    const second = createRelay({ repository, events: bus, log: createRecordingLog().log })
    await Bun.sleep(50)
    expect(await second.run()).toBe(0)
    bus.work()
    expect(await first).toBe(1)
    expect(seqsOf(row)).toEqual([1])
  })
})

describe('the loop', () => {
  test('sends what is owed by itself, also after it failed before', async () => {
    const row = await newActive()
    await makeDue()
    bus.fail()
    relay.start()
    await until(() => lines.some(({ level }) => level === 40))
    bus.work()
    await makeDue()
    await until(() => bus.sent.length > 0)
    await relay.stop()
    expect(seqsOf(row)).toEqual([1])
    expect(await owed()).toEqual([])
  }, 10_000)

  test('stops for good, and waits for what is being sent', async () => {
    const row = await newActive()
    relay.start()
    bus.hold()
    relay.announce(row)
    let stopped = false
    const stopping = relay.stop().then(() => {
      stopped = true
    })
    await Bun.sleep(50)
    expect(stopped).toBe(false)
    bus.work()
    await stopping
    expect(await owed()).toEqual([])
    await rename(row, 'second.jpg')
    await makeDue()
    await Bun.sleep(1200)
    expect(seqsOf(row)).toEqual([1])
  }, 10_000)
})
