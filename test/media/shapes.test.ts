import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { ChangedObject } from '../../src/media/object/object.ts'
import { createRelay } from '../../src/media/outbox/relay.ts'
import { createRepository, type Repository } from '../../src/media/table/repository.ts'
import type { UpkeepReport } from '../../src/media/upkeep/step.ts'
import { mendJson } from '../../src/media/upkeep/steps/mend-json.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'
import { arrived, callerOf, newObject } from '../support/media/objects.ts'
import { createSwitchableBus, type SwitchableBus } from '../support/media/switchable-bus.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import { databases, type OpenDatabase } from '../support/services/databases.ts'

for (const { name, present, open } of databases) {
  describe.skipIf(!present)(`a row whose JSON was stored encoded twice, on ${name}`, () => {
    let database: OpenDatabase
    let repository: Repository
    let bus: SwitchableBus
    beforeAll(async () => {
      database = await open({ migrated: true })
      repository = createRepository({ sql: database.sql, pendingSeconds: 100, retentionSeconds: 1000 })
    }, 60_000)
    afterAll(() => database.close(), 30_000)
    beforeEach(async () => {
      await database.sql`ALTER TABLE media_objects DROP CONSTRAINT IF EXISTS media_objects_shapes`
      await database.sql`DELETE FROM media_objects`
      await database.sql`UPDATE media_upkeep SET position = '', taken_until = now() WHERE job = 'json shapes'`
      bus = createSwitchableBus()
    })

    async function newActive(): Promise<ChangedObject> {
      const object = newObject()
      await repository.uploads.insert(object)
      return (await repository.uploads.activate(object.id, arrived)) ?? expect.unreachable()
    }

    /** As versions before 0008 stored it: metadata as a string, event fields merged as a string by `||`. */
    async function corrupt({ id }: { id: string }): Promise<void> {
      await database.sql`
        UPDATE media_objects SET metadata = to_jsonb(metadata::text),
          outbox = jsonb_build_array(jsonb_build_object('channel', 'photo:uploaded', 'payload',
            (outbox #> '{0,payload}') - '{mimeType,width}'::text[] || to_jsonb('{"mimeType":"image/jpeg","width":640}'::text)))
        WHERE id = ${id}`
    }

    const makeDue = () => database.sql`UPDATE media_objects SET outbox_due_at = now() WHERE outbox_due_at IS NOT NULL`
    const relay = () => createRelay({ repository, events: bus, log: createRecordingLog().log })
    const shapesOf = async (id: string) => {
      const [row] = await database.sql`
        SELECT jsonb_typeof(metadata) AS metadata, jsonb_typeof(outbox #> '{0,payload}') AS payload, unmendable
        FROM media_objects WHERE id = ${id}`
      return row
    }
    /** What upkeep does, until the search is over or comes to its end without. */
    async function searchShapes(): Promise<number> {
      const report = { mended: 0 } as UpkeepReport
      await mendJson({ repository }, report)
      return report.mended
    }

    test('is read as it was meant', async () => {
      const row = await newActive()
      await corrupt(row)
      const found = await repository.objects.findVisible(row.id, callerOf(row))
      expect(found?.metadata).toEqual(arrived.metadata)
    })

    test('has its events sent whole, and holds up nobody else', async () => {
      const rows = [await newActive(), await newActive(), await newActive()] as const
      await corrupt(rows[1])
      await makeDue()
      expect(await relay().run()).toBe(3)
      expect(bus.sent.map(({ payload }) => payload.id).sort()).toEqual(rows.map(({ id }) => id).sort())
      expect(bus.sent.every(({ payload }) => payload.mimeType === 'image/jpeg')).toBeTrue()
    })

    test('keeps nobody from being sent where the database asks for the right shapes', async () => {
      const rows = [await newActive(), await newActive()] as const
      await corrupt(rows[0])
      await makeDue()
      await database.sql`ALTER TABLE media_objects ADD CONSTRAINT media_objects_shapes
        CHECK (media_has_shapes(metadata, renditions, outbox)) NOT VALID`
      expect((await refusal(repository.outbox.claim(10))).message).toContain('media_objects_shapes')
      expect(await relay().run()).toBe(2)
      expect(await shapesOf(rows[0].id)).toMatchObject({ metadata: 'object' })
    })

    test('is mended by the search, which leaves all others alone', async () => {
      const rows = [await newActive(), await newActive(), await newActive()] as const
      await corrupt(rows[1])
      const before = await database.sql`SELECT * FROM media_objects WHERE id <> ${rows[1].id} ORDER BY id`
      expect(await searchShapes()).toBe(1)
      expect(await shapesOf(rows[1].id)).toEqual({ metadata: 'object', payload: 'object', unmendable: null })
      const [row] = await database.sql`SELECT outbox FROM media_objects WHERE id = ${rows[1].id}`
      expect(row?.outbox).toEqual(rows[1].outbox)
      expect([...(await database.sql`SELECT * FROM media_objects WHERE id <> ${rows[1].id} ORDER BY id`)]).toEqual([
        ...before,
      ])
    })

    test('is set aside unchanged when it cannot be repaired', async () => {
      const row = await newActive()
      await database.sql`UPDATE media_objects SET metadata = '"{no JSON"', outbox = '[7]' WHERE id = ${row.id}`
      expect(await searchShapes()).toBe(1)
      const [found] = await database.sql`SELECT metadata, outbox, outbox_due_at, unmendable FROM media_objects`
      expect(found).toEqual({
        metadata: {},
        outbox: [],
        outbox_due_at: null,
        unmendable: { metadata: '{no JSON', renditions: {}, outbox: [7] },
      })
    })

    test('cannot be stored any more once a search has found none', async () => {
      const row = await newActive()
      expect(await searchShapes()).toBe(0)
      expect(await repository.shapes.takeSearch()).toBeNull()
      expect((await refusal(corrupt(row))).message).toContain('media_objects_shapes')
      const [constraint] = await database.sql`
        SELECT convalidated FROM pg_constraint WHERE conname = 'media_objects_shapes'`
      expect(constraint).toEqual({ convalidated: true })
    })

    test('may still be stored after one was found, or while a replica that stores such rows is connected', async () => {
      const row = await newActive()
      await corrupt(row)
      expect(await searchShapes()).toBe(1)
      await corrupt(row)
      expect(await searchShapes()).toBe(1)
      // PGlite has one connection, which is this version's.
      if (name === 'PGlite') return
      await database.connectAgain().begin(async (old) => {
        await old`SET LOCAL application_name = 'postgres.js'`
        expect(await searchShapes()).toBe(0)
        await corrupt(row)
      })
      expect(await searchShapes()).toBe(1)
    })

    test('has one search: a replica that was slow neither moves it nor ends it for the one that has it now', async () => {
      const slow = await repository.shapes.takeSearch()
      await database.sql`UPDATE media_upkeep SET taken_until = now() - interval '1 second' WHERE job = 'json shapes'`
      expect(await repository.shapes.takeSearch()).not.toBeNull()
      await repository.shapes.moveSearch(slow?.claim ?? '', { after: crypto.randomUUID(), unsuspected: true })
      expect(await repository.shapes.enforce(slow?.claim ?? '')).toBe(false)
      expect(await repository.shapes.takeSearch()).toBeNull()
      const [row] = await database.sql`SELECT position FROM media_upkeep WHERE job = 'json shapes'`
      expect(row).toEqual({ position: '' })
    })

    // PGlite has one connection: nothing happens beside the look at the table.
    test.skipIf(name === 'PGlite')('is looked for by one replica, however long the look at all takes', async () => {
      await newActive()
      const { sql } = database
      const [{ text } = expect.unreachable()] = await sql<{ text: string }[]>`
        SELECT pg_get_functiondef('media_has_shapes'::regproc) AS text`
      const other = database.connectAgain()
      const second = createRepository({ sql: other, pendingSeconds: 100, retentionSeconds: 1000 })
      const gate = 7_001
      const validates = async () => {
        const [row] = await other`
          SELECT count(*)::int AS n FROM pg_stat_activity
          WHERE datname = current_database() AND query LIKE '%VALIDATE%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()`
        return row?.n > 0
      }
      await repository.shapes.takeSearch()
      // The lease is over while the table is looked at.
      const [{ claim } = expect.unreachable()] = await sql<{ claim: string }[]>`
        UPDATE media_upkeep SET taken_until = now() - interval '1 second' WHERE job = 'json shapes'
        RETURNING taken_until::text AS claim`
      let enforced: Promise<boolean> | undefined
      try {
        await database.connectAgain().begin(async (holder) => {
          await holder`SELECT pg_advisory_xact_lock(${gate})`
          await sql.unsafe(
            text
              .replace(/AS \$function\$[\s\S]*\$function\$/, () => '')
              .replace(/LANGUAGE \w+/, () => 'LANGUAGE plpgsql')
              .concat(` AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(${gate}); RETURN true; END $$`),
          )
          enforced = repository.shapes.enforce(claim)
          await until(validates)
          expect(await second.shapes.takeSearch()).toBeNull()
        })
        expect(await enforced).toBe(true)
      } finally {
        await sql.unsafe(text)
      }
      expect(await second.shapes.takeSearch()).toBeNull()
    })

    test('that owes what cannot be sent is set aside after others went through, until it is made due', async () => {
      const bad = await newActive()
      const publish = bus.publish
      bus.publish = async (events) => {
        if (events.some(({ payload }) => payload.id === bad.id)) throw new Error('this one is refused')
        await publish(events)
      }
      const log = createRecordingLog()
      const one = createRelay({ repository, events: bus, log: log.log })
      await makeDue()
      expect((await refusal(one.run())).message).toBe('this one is refused')
      for (let tries = 1; tries <= 3; tries++) {
        expect((await repository.health.backlog()).setAside).toBe(0)
        const good = await newActive()
        await makeDue()
        expect(await one.run()).toBe(1)
        expect(bus.sent.at(-1)?.payload.id).toBe(good.id)
      }
      expect(log.lines.filter(({ level }) => level === 50)).toMatchObject([{ id: bad.id }])
      expect(await repository.health.backlog()).toMatchObject({ setAside: 1, owed: 0 })
      expect(await one.run()).toBe(0)
      bus.publish = publish
      expect(await repository.outbox.resume()).toBe(1)
      expect(await one.run()).toBe(1)
      expect(await repository.health.backlog()).toMatchObject({ setAside: 0, owed: 0 })
    })

    test('is set aside whatever its shapes, also where the database asks for others', async () => {
      const row = await newActive()
      await corrupt(row)
      await database.sql`ALTER TABLE media_objects ADD CONSTRAINT media_objects_shapes
        CHECK (media_has_shapes(metadata, renditions, outbox)) NOT VALID`
      await repository.outbox.setAside(row.id)
      expect((await repository.health.backlog()).setAside).toBe(1)
    })
  })
}
