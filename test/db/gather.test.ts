import { describe, expect, test } from 'bun:test'
import { Hono } from 'hono'
import { createGather } from '../../src/db/gather.ts'
import { type Kind, LOCKED } from '../../src/db/gathered-calls.ts'
import { observeRequests } from '../../src/observe/requests.ts'
import type { RequestRecord } from '../../src/telemetry/record.ts'
import { until } from '../support/clock/until.ts'
import { refusal } from '../support/http/refusal.ts'

const OUT_OF_TIME = { code: 'database_unavailable', kind: 'outage' }

/** A kind whose statements end when the test says so. */
function held<I>(more: Partial<Kind<I, string>> = {}) {
  const sent: { items: I[]; ms: number; end(answers?: (string | typeof LOCKED)[]): void; fail(error: Error): void }[] =
    []
  const kind: Kind<I, string> = {
    together: (items, ms) =>
      new Promise((resolve, reject) => {
        sent.push({ items, ms, end: (answers = items.map((item) => `${item}!`)) => resolve(answers), fail: reject })
      }),
    ...more,
  }
  return { kind, sent }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('calls that are gathered', () => {
  test('a call that comes alone is sent at the end of the turn, with those of the same turn', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8)(kind)
    const both = [ask(1), ask(2)]
    expect(sent).toHaveLength(0)
    await turn()
    await turn()
    expect(sent.map(({ items }) => items)).toEqual([[1, 2]])
    sent[0]?.end()
    expect(await Promise.all(both)).toEqual(['1!', '2!'])
  })

  test('those that come while a statement is under way go together when it ends, 64 at most', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8)({
      ...kind,
      // Answers at once from the second statement on: what counts is who went with whom.
      together: (items, ms) => {
        const answered = kind.together(items, ms)
        if (sent.length > 1) sent.at(-1)?.end()
        return answered
      },
    })
    const calls = [ask(0)]
    await until(() => sent.length === 1)
    for (let i = 1; i <= 150; i++) calls.push(ask(i))
    sent[0]?.end()
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 151 }, (_, i) => `${i}!`))
    expect(sent.map(({ items }) => items.length)).toEqual([1, 64, 64, 22])
  })

  test('a second statement begins beside one that takes more than 50 ms, and no third', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8)(kind)
    const begun = performance.now()
    const calls = [ask(0)]
    await until(() => sent.length === 1)
    calls.push(ask(1), ask(2))
    await until(() => sent.length === 2)
    expect(performance.now() - begun).toBeGreaterThan(49)
    expect(sent[1]?.items).toEqual([1, 2])
    calls.push(ask(3))
    await Bun.sleep(150)
    expect(sent).toHaveLength(2)
    sent[1]?.end()
    await until(() => sent.length === 3)
    sent[0]?.end()
    sent[2]?.end()
    expect(await Promise.all(calls)).toEqual(['0!', '1!', '2!', '3!'])
  })

  test('all kinds together leave two connections to others, and each kind gets its turn', async () => {
    const gather = createGather(8)
    const kinds = Array.from({ length: 9 }, () => held<number>())
    const calls = kinds.map(({ kind }) => gather(kind)(1))
    const underWay = () => kinds.filter(({ sent }) => sent.length > 0)
    await until(() => underWay().length === 6)
    await Bun.sleep(80)
    expect(underWay()).toHaveLength(6)
    for (const { sent } of underWay()) sent[0]?.end()
    await until(() => underWay().length === 9)
    for (const { sent } of underWay()) sent[0]?.end()
    expect(await Promise.all(calls)).toEqual(calls.map(() => '1!'))
  })

  test('one for a row waits for the statement of another for it, however long that takes, and others do not', async () => {
    const { kind, sent } = held<{ id: string; n: number }>({ idOf: ({ id }) => id })
    const ask = createGather(8)(kind)
    const first = ask({ id: 'a', n: 1 })
    await until(() => sent.length === 1)
    const second = ask({ id: 'a', n: 2 })
    const other = ask({ id: 'b', n: 3 })
    await until(() => sent.length === 2)
    expect(sent[1]?.items.map(({ n }) => n)).toEqual([3])
    sent[1]?.end(['3'])
    expect(await other).toBe('3')
    await Bun.sleep(120)
    expect(sent).toHaveLength(2)
    sent[0]?.end(['1'])
    expect(await first).toBe('1')
    await until(() => sent.length === 3)
    expect(sent[2]?.items.map(({ n }) => n)).toEqual([2])
    sent[2]?.end(['2'])
    expect(await second).toBe('2')
  })

  test('two for the same row never share a statement', async () => {
    const { kind, sent } = held<string>({ idOf: idOfText })
    const ask = createGather(8)(kind)
    const calls = ['a/1', 'a/2', 'stranger/1', 'a/1'].map(ask)
    for (const [i, items] of [['a/1', 'a/2'], ['stranger/1'], ['a/1']].entries()) {
      await until(() => sent.length === i + 1)
      expect(sent[i]?.items).toEqual(items)
      sent[i]?.end(items.map(() => `statement ${i}`))
    }
    expect(await Promise.all(calls)).toEqual(['statement 0', 'statement 0', 'statement 1', 'statement 2'])
  })

  test('reads of one row do', async () => {
    const { kind, sent } = held<string>()
    const ask = createGather(8)(kind)
    const calls = ['a', 'a'].map(ask)
    await until(() => sent.length === 1)
    expect(sent[0]?.items).toEqual(['a', 'a'])
    sent[0]?.end()
    await Promise.all(calls)
  })

  test('one whose row is locked goes alone, and holds up nobody', async () => {
    const singles: string[] = []
    let unlock = (_answer: string) => {}
    const { kind, sent } = held<string>({
      idOf: idOfText,
      alone: (item) => {
        singles.push(item)
        return new Promise((resolve) => {
          unlock = resolve
        })
      },
    })
    const ask = createGather(8)(kind)
    const [locked, free] = [ask('a/1'), ask('a/2')]
    await until(() => sent.length === 1)
    sent[0]?.end([LOCKED, 'free'])
    expect(await free).toBe('free')
    await until(() => singles.length === 1)
    const later = ['a/3', 'a/4'].map(ask)
    await until(() => sent.length === 2)
    sent[1]?.end()
    expect(await Promise.all(later)).toEqual(['a/3!', 'a/4!'])
    unlock('unlocked')
    expect(await locked).toBe('unlocked')
    expect(singles).toEqual(['a/1'])
  })

  test('one that comes alone goes by the statement for one; if that waits, others pass it by after 50 ms', async () => {
    const singles: ((answer: string) => void)[] = []
    const { kind, sent } = held<string>({
      idOf: idOfText,
      alone: () => new Promise((resolve) => void singles.push(resolve)),
    })
    const ask = createGather(8)(kind)
    const first = ask('a/1')
    await until(() => singles.length === 1)
    const begun = performance.now()
    const later = ['a/2', 'a/3'].map(ask)
    await until(() => sent.length === 1)
    expect(performance.now() - begun).toBeGreaterThan(20)
    sent[0]?.end()
    expect(await Promise.all(later)).toEqual(['a/2!', 'a/3!'])
    // Three that wait are as many as may: the next one goes by the statement that waits for nothing.
    const waiting = [first]
    for (const [i, item] of ['a/4', 'a/5'].entries()) {
      waiting.push(ask(item))
      await until(() => singles.length === i + 2)
      await Bun.sleep(60)
    }
    const fourth = ask('a/6')
    await until(() => sent.length === 2)
    expect(sent[1]?.items).toEqual(['a/6'])
    sent[1]?.end()
    expect(await fourth).toBe('a/6!')
    for (const end of singles) end('done')
    expect(await Promise.all(waiting)).toEqual(['done', 'done', 'done'])
  })

  test('however many rows are locked, the lanes keep half of the connections', async () => {
    let singles = 0
    const never = new Promise<never>(() => {})
    const { kind, sent } = held<string>({
      idOf: idOfText,
      alone: () => {
        singles += 1
        return never
      },
    })
    const gather = createGather(8, { deadlineMs: 700 })
    const ask = gather(kind)
    const calls = Array.from({ length: 20 }, (_, i) => refusal(ask(`a/${i}`)))
    await until(() => sent.length === 1)
    sent[0]?.end(Array.from({ length: 20 }, () => LOCKED))
    const reads = Array.from({ length: 3 }, () => held<number>())
    const read = reads.map(({ kind }) => gather(kind)(1))
    await until(() => reads.every(({ sent }) => sent.length === 1))
    for (const { sent } of reads) sent[0]?.end()
    await Promise.all(read)
    expect(singles).toBe(3)
    for (const error of await Promise.all(calls)) expect(error).toMatchObject(OUT_OF_TIME)
  })

  test('a failure of which the outcome is unknown is that of all, and nothing goes again', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8)(kind)
    const calls = [1, 2, 3].map((item) => refusal(ask(item)))
    await until(() => sent.length === 1)
    sent[0]?.fail(new Error('the connection broke'))
    for (const error of await Promise.all(calls)) expect(error.message).toBe('the connection broke')
    await turn()
    expect(sent).toHaveLength(1)
  })

  test('a call without an answer fails instead of waiting', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8)(kind)
    const calls = [ask(1), refusal(ask(2))] as const
    await until(() => sent.length === 1)
    sent[0]?.end(['only one'])
    expect(await calls[0]).toBe('only one')
    expect((await calls[1]).message).toMatch(/without an answer/)
  })

  test('each request is recorded with its own wait, and none with the statement of another', async () => {
    const records: RequestRecord[] = []
    const { kind, sent } = held<string>()
    const ask = createGather(8)(kind)
    const app = new Hono()
    app.use(observeRequests((record) => records.push(record)))
    app.get('/:name', async (c) => c.text(await ask(c.req.param('name'))))
    const first = app.request('/first')
    await until(() => sent.length === 1)
    const begun = performance.now()
    await Bun.sleep(20)
    const second = app.request('/second')
    sent[0]?.end()
    await until(() => sent.length === 2)
    sent[1]?.end()
    await Promise.all([first, second])
    await until(() => records.length === 2)
    const total = performance.now() - begun
    const [one, other] = records.map(({ steps }) => steps)
    expect(one).toHaveLength(1)
    expect(other).toHaveLength(1)
    expect(one?.[0]).toMatchObject({ dependency: 'database', failed: false })
    expect(one?.[0]?.ms).toBeGreaterThan(19)
    expect(other?.[0]?.ms).toBeLessThan(total - 18)
  })
})

describe('deadlines of calls that are gathered', () => {
  test('each is answered when its own time is over; the statement goes on for the youngest', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8, { deadlineMs: 2000 })(kind)
    // Their time is over before the test is.
    const lanes = [ask(0).catch(() => '')]
    await until(() => sent.length === 1)
    lanes.push(ask(1).catch(() => ''))
    await until(() => sent.length === 2)
    const begun = performance.now()
    const old = refusal(ask(2)).then((error) => ({ error, after: performance.now() - begun }))
    await Bun.sleep(300)
    const young = ask(3)
    sent[0]?.end()
    await until(() => sent.length === 3)
    expect(sent[2]?.items).toEqual([2, 3])
    expect(sent[2]?.ms).toBeWithin(1750, 2001)
    const { error, after } = await old
    expect(error).toMatchObject(OUT_OF_TIME)
    expect(after).toBeGreaterThan(1999)
    sent[2]?.end()
    expect(await young).toBe('3!')
    sent[1]?.end()
    await Promise.allSettled(lanes)
  })

  test('one whose time is nearly over is not sent', async () => {
    const { kind, sent } = held<number>()
    const ask = createGather(8, { deadlineMs: 400 })(kind)
    // Their time is over before the test is.
    const lanes = [ask(0).catch(() => '')]
    await until(() => sent.length === 1)
    lanes.push(ask(1).catch(() => ''))
    await until(() => sent.length === 2)
    const waited = refusal(ask(2))
    await Bun.sleep(200)
    sent[0]?.end()
    expect(await waited).toMatchObject(OUT_OF_TIME)
    sent[1]?.end()
    expect(sent).toHaveLength(2)
    await Promise.allSettled(lanes)
  })
})

const idOfText = (item: string) => item.split('/')[1] ?? ''
