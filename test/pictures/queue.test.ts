import { expect, test } from 'bun:test'
import { createQueue, type Lane } from '../../src/pictures/queue.ts'

const later = () => Date.now() + 60_000

/** What was resolved has had its effect. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

/** Takes what places there are, in the order in which the queue gives them; each job lasts until it is told to end. */
function workplace(places: number) {
  const queue = createQueue(places)
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const begin = async (name: string, party: string, until = later(), lane?: Lane) => {
    const giveBack = await queue.place(party, until, lane)
    begun.push(giveBack === undefined ? `${name} refused` : name)
    if (giveBack) ends.set(name, giveBack)
  }
  const end = async (name: string) => {
    ends.get(name)?.()
    await settled()
  }
  return { queue, begun, begin, end }
}

test('a party that came second does not wait for all that the first has brought', async () => {
  const { begun, begin, end } = workplace(1)
  for (const name of ['a1', 'a2', 'a3', 'a4']) void begin(name, 'owner:a')
  void begin('b1', 'owner:b')
  void begin('c1', 'address:c')
  await settled()
  for (let i = 0; i < 5; i += 1) await end(begun.at(-1) ?? '')
  expect(begun).toEqual(['a1', 'b1', 'c1', 'a2', 'a3', 'a4'])
})

test('no party takes the last place when another one waits', async () => {
  const { begun, begin, end } = workplace(2)
  for (const name of ['a1', 'a2', 'a3', 'a4']) void begin(name, 'owner:a')
  void begin('b1', 'owner:b')
  void begin('b2', 'owner:b')
  await settled()
  await end('a1')
  await end('a2')
  expect(begun).toEqual(['a1', 'a2', 'b1', 'a3'])
})

test('jobs of one lane run one at a time, and hold up no others', async () => {
  const { queue, begun, begin, end } = workplace(2)
  const beginHeic = (name: string, party: string) => begin(name, party, later(), 'heic')
  void beginHeic('a1', 'owner:a')
  void beginHeic('a2', 'owner:a')
  void beginHeic('b1', 'owner:b')
  void begin('c1', 'owner:c')
  await settled()
  expect([begun, queue.usage()]).toEqual([['a1', 'c1'], { busy: 2, waiting: 2 }])
  await end('c1')
  expect(queue.usage()).toEqual({ busy: 1, waiting: 2 })
  await end('a1')
  expect(begun).toEqual(['a1', 'c1', 'b1'])
  await end('b1')
  expect(begun).toEqual(['a1', 'c1', 'b1', 'a2'])
})

test('upkeep comes when nobody else waits', async () => {
  const { begun, begin, end } = workplace(1)
  void begin('a1', 'owner:a')
  void begin('u1', 'upkeep')
  void begin('a2', 'owner:a')
  void begin('b1', 'address:b')
  await settled()
  for (let i = 0; i < 3; i += 1) await end(begun.at(-1) ?? '')
  expect(begun).toEqual(['a1', 'b1', 'a2', 'u1'])
})

test('strangers without number do not keep a party from its turn', async () => {
  const { begun, begin, end } = workplace(1)
  void begin('a1', 'owner:a')
  void begin('a2', 'owner:a')
  await settled()
  for (let stranger = 0; stranger < 20; stranger += 1) {
    void begin(`s${stranger}`, `address:${stranger}`)
    await end(begun.at(-1) ?? '')
  }
  expect(begun.indexOf('a2')).toBeLessThan(3)
})

test('a job that waits longer than its caller is refused, and takes no place', async () => {
  const { queue, begun, begin, end } = workplace(1)
  void begin('a1', 'owner:a')
  await begin('b1', 'owner:b', Date.now() + 5)
  expect(begun).toEqual(['a1', 'b1 refused'])
  await end('a1')
  expect(queue.usage()).toEqual({ busy: 0, waiting: 0 })
})

test('a full queue makes room for others by what its largest party brought last', async () => {
  const { queue, begun, begin } = workplace(1)
  for (let at = 0; at <= 256; at += 1) void begin(`a${at}`, 'owner:a')
  expect(queue.usage()).toEqual({ busy: 1, waiting: 256 })
  await begin('a257', 'owner:a')
  void begin('b1', 'owner:b')
  await settled()
  expect(begun).toEqual(['a0', 'a257 refused', 'a256 refused'])
  expect(queue.usage().waiting).toBe(256)
})

test('a closed queue refuses all', async () => {
  const { queue, begun, begin } = workplace(1)
  void begin('a1', 'owner:a')
  const waiting = begin('b1', 'owner:b')
  queue.close()
  await waiting
  await begin('c1', 'owner:c')
  expect(begun).toEqual(['a1', 'b1 refused', 'c1 refused'])
})
