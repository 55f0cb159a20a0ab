/** What one process is asked for several times at the same time, so that its calls to the database go together. */
import type { Caller } from '../../src/auth/caller.ts'
import type { Replica } from './replica.ts'
import { soundly } from './replica.ts'
import { declared, fileOf, type Operation, orGone, png, seen, type Trial } from './trials.ts'
import type { World } from './world.ts'

// More would only try more points.
const COUNT = 2
const numbers = Array.from({ length: COUNT }, (_, i) => i)
const stranger: Caller = { userId: crypto.randomUUID(), role: 'user' }

export const gathered: Operation[] = [
  {
    name: 'uploads at the same time',
    unlimited: true,
    async begin(world, person) {
      const told: string[] = []
      const run = ({ media }: Replica) =>
        all(numbers.map(async () => void told.push((await media.uploads.direct(person, fileOf(undefined))).id)))
      return {
        run,
        again: run,
        async wrong(_, retried) {
          const ids = (await seen(world, person)).active.map(({ id }) => id)
          const most = COUNT * (retried ? 2 : 1)
          return [
            ...told.filter((id) => !ids.includes(id)).map((id) => `an upload that was answered is not there: ${id}`),
            ...(ids.length > most ? [`${ids.length} objects after ${most} uploads`] : []),
          ]
        },
      }
    },
  },
  {
    name: 'completes at the same time, each one twice',
    unlimited: true,
    async begin(world, person) {
      const links = await soundly(world, ({ media }) =>
        Promise.all(numbers.map(() => media.uploads.presign(person, declared(undefined)))),
      )
      for (const link of links) await world.put(link, png)
      const ids = links.map(({ id }) => id)
      return trialOf(world, person, ids, 'active', (id, { media }) => [
        media.uploads.complete(id, person),
        media.uploads.complete(id, person),
      ])
    },
  },
  {
    name: 'deletes at the same time, each one twice and once by a stranger',
    async begin(world, person) {
      const ids = await objectsOf(world, person)
      return trialOf(world, person, ids, 'deleted', (id, { media }) => [
        orGone(media.objects.remove(id, person)),
        orGone(media.objects.remove(id, person)),
        orGone(media.objects.remove(id, stranger)),
      ])
    },
  },
  {
    name: 'looks at objects and their renditions at the same time, while they are deleted',
    async begin(world, person) {
      const ids = await objectsOf(world, person)
      const wish = { width: 100, height: undefined, fit: 'inside', format: 'auto', quality: 75 } as const
      const asked = { wish, accept: 'image/webp', party: 'address:1' }
      return trialOf(world, person, ids, 'deleted', (id, { media }) => [
        orGone(media.objects.get(id, person)),
        orGone(media.renditions.get(id, person, asked)),
        orGone(media.objects.remove(id, person)),
      ])
    },
  },
]

function objectsOf(world: World, person: Caller): Promise<string[]> {
  return soundly(world, ({ media }) =>
    Promise.all(numbers.map(async () => (await media.uploads.direct(person, fileOf(undefined))).id)),
  )
}

/** Each object is in the end as the calls for it make it, or as it was; the former once one of its calls was answered. */
function trialOf(
  world: World,
  person: Caller,
  ids: string[],
  end: 'active' | 'deleted',
  callsFor: (id: string, replica: Replica) => Promise<unknown>[],
): Trial {
  const told = new Set<string>()
  const ask = async (id: string, replica: Replica) => {
    await all(callsFor(id, replica))
    told.add(id)
  }
  const run = (replica: Replica) => all(ids.map((id) => ask(id, replica)))
  return {
    run,
    again: run,
    async wrong() {
      const { [end]: there, active } = await seen(world, person)
      const is = (id: string, objects: { id: string }[]) => objects.some((object) => object.id === id)
      return ids
        .filter((id) => !is(id, there) && (told.has(id) || (end === 'deleted' && !is(id, active))))
        .map((id) => `not ${end} in the end: ${id}`)
    },
  }
}

/** Waits for all of them, then throws what the first one did that failed. */
async function all(calls: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(calls)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}
