/** Copies of public pictures that decoders fail to make: when they are tried again. The store has no part in it. */
import { describe, expect, test } from 'bun:test'
import { DecodeFailure } from '../../src/pictures/decoding.ts'
import { domainOnStore, file, owner } from '../support/media/store-domain.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import { openDisk } from '../support/services/stores.ts'

describe('a public copy that decoders do not make', () => {
  const on = domainOnStore(openDisk)

  const failing = (kind: DecodeFailure['kind'], code: DecodeFailure['code'], version = 'one') => {
    let tries = 0
    const perform = async () => {
      tries += 1
      throw new DecodeFailure(kind, code, 'A failure of the test.')
    }
    return { decoders: createInProcessDecoders({ version, perform }), tries: () => tries }
  }
  const backoffOver = () => on.sql`
    UPDATE media_objects SET decode_outcomes = jsonb_set(decode_outcomes, '{clean,until}', '0')`

  test('a copy that is too dear is tried three times, ever later, and then not until the decoders change', async () => {
    const dear = failing('too-dear', 'image_too_large')
    const { media, makePublicCopy } = on.createService(dear)
    const { id } = await media.uploads.direct(owner, file('public'))
    const codeOf = async () => makePublicCopy(await media.objects.get(id, null), 'upkeep').catch((error) => error.code)
    const codes = []
    for (let i = 0; i < 4; i += 1) {
      // The second request of each round comes before the next try is due.
      codes.push(await codeOf(), await codeOf())
      await backoffOver()
    }
    const late = ['overloaded', 'overloaded']
    expect(codes).toEqual([...late, ...late, ...Array(4).fill('image_too_large')])
    expect(dear.tries()).toBe(3)
    // Its owner can't change that, new decoders can.
    await media.objects.update(id, owner, { visibility: 'public' })
    expect(await codeOf()).toBe('image_too_large')
    const upgraded = on.createService({ decoders: createInProcessDecoders({ version: 'two' }) })
    expect(await upgraded.makePublicCopy(await media.objects.get(id, null), 'upkeep')).toContain('/clean.')
  })

  test('a copy that was not made through nobody’s fault leaves no trace and is made the next time', async () => {
    const busy = failing('not-done', 'overloaded')
    const { media, makePublicCopy, upkeep } = on.createService(busy)
    const { id } = await media.uploads.direct(owner, file('public'))
    const traces = () => on.sql`SELECT decode_outcomes, decode_version, publish_tries FROM media_objects`
    for (let i = 0; i < 7; i += 1) {
      expect(await makePublicCopy(await media.objects.get(id, null), 'upkeep').catch((error) => error.code)).toBe(
        'overloaded',
      )
      expect(await upkeep.run()).toMatchObject({ published: 0, failed: [] })
      await on.sql`UPDATE media_objects SET publish_due_at = now()`
    }
    expect([...(await traces())]).toEqual([{ decode_outcomes: {}, decode_version: null, publish_tries: 0 }])
    expect(await on.createService().upkeep.run()).toMatchObject({ published: 1, failed: [] })
  })

  test('a picture that earlier decoders refused is tried again, within a day of the upgrade', async () => {
    const bad = failing('bad-bytes', 'image_unreadable')
    const { media, upkeep } = on.createService(bad)
    const { id } = await media.uploads.direct(owner, file('public'))
    const due = async () => {
      const [row] = await on.sql`
        SELECT publish_due_at AS at, publish_due_at BETWEEN now() AND now() + interval '1 day' AS "withinADay",
          placeholder_due_at BETWEEN now() AND now() + interval '1 day' AS "alsoItsPlaceholder" FROM media_objects`
      return row
    }
    for (let i = 0; i < 3; i += 1) {
      expect(await upkeep.run()).toMatchObject({ published: 0, failed: [] })
      await on.sql`UPDATE media_objects SET publish_due_at = publish_due_at - interval '2 days'`
    }
    expect([bad.tries(), (await due())?.at]).toEqual([1, null])
    const upgraded = on.createService({ decoders: createInProcessDecoders({ version: 'two' }) })
    expect(await upgraded.upkeep.run()).toMatchObject({ published: 0, failed: [] })
    expect(await due()).toMatchObject({ withinADay: true, alsoItsPlaceholder: true })
    await on.sql`UPDATE media_objects SET publish_due_at = now()`
    expect(await upgraded.upkeep.run()).toMatchObject({ published: 1, failed: [] })
    expect((await media.objects.get(id, null)).publicKey).toContain('/clean.')
  })
})
