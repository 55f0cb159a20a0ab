/** The calls of one process to what is outside of it, and what becomes of them. */
import type { EventBus } from '../../src/events/events.ts'
import type { Repository } from '../../src/media/table/repository.ts'
import { Problem } from '../../src/problem.ts'
import type { Storage } from '../../src/storage/storage.ts'
import type { TusStores } from '../../src/storage/tus.ts'

export const faults = [
  /** It never happens, and the caller is told that it failed. */
  'fails before',
  /** It happens, but the caller is told that it failed. */
  'fails after',
  /** The caller is told that it failed; it happens when the caller is through with everything. */
  'fails and happens late',
  /** Neither this nor any later call gets through, and the caller is told so. */
  'fails with all after it',
  /** The process dies before the call leaves it. */
  'dies before',
  /** The process dies when the call has happened, before it gets to know of it. */
  'dies after',
  /** The call is lost, calls beside it are not, and the process dies waiting for it. */
  'dies waiting',
] as const
export type Fault = (typeof faults)[number]

/** Which call, counted from 1, and what becomes of it. */
export type Plan = { at: number; fault: Fault }

export type Circuit = {
  repository: Repository
  storage: Storage
  tusStores: Pick<TusStores, 'open' | 'hasAll'>
  events: EventBus
  /** The calls so far, by name. */
  calls: string[]
  /** Whether the planned call has come. */
  struck(): boolean
  /** Resolves when this process will not go on by itself. */
  fallen: Promise<void>
  /** Resolves when no call is under way any more and none comes. */
  quiet(): Promise<void>
  /** Ends the process: from now on nothing gets through. Calls that were to happen late happen now. */
  end(): Promise<void>
}

type Ports = Pick<Circuit, 'repository' | 'storage' | 'tusStores' | 'events'>
/** Makes a call when it is its turn; `name`: the port's for it, such as `put`, or `uploads.insert`. */
export type Turn = <T>(call: () => Promise<T>, name?: string) => Promise<T>

const atOnce: Turn = (call) => call()

export function createCircuit(ports: Ports, plan: Plan | undefined, turn: Turn = atOnce): Circuit {
  const calls: string[] = []
  const late: (() => Promise<unknown>)[] = []
  const underWay = new Set<Promise<unknown>>()
  let dead = false
  let fall = () => {}
  const fallen = new Promise<void>((resolve) => {
    fall = resolve
  })
  const never = <T>() => new Promise<T>(() => {})

  async function pass<T>(name: string, call: () => Promise<T>, failure: () => Error): Promise<T> {
    if (dead) return never()
    calls.push(name)
    const fault = faultOf(calls.length, plan)
    try {
      const value = await (fault ? strike(fault, () => reach(name, call), call, failure) : reach(name, call))
      return dead ? never() : value
    } catch (error) {
      return dead ? never() : Promise.reject(error)
    }
  }

  async function reach<T>(name: string, call: () => Promise<T>): Promise<T> {
    const answer = turn(call, name)
    underWay.add(answer)
    try {
      return await answer
    } finally {
      underWay.delete(answer)
    }
  }

  async function strike<T>(
    fault: Fault,
    now: () => Promise<T>,
    later: () => Promise<T>,
    failure: () => Error,
  ): Promise<T> {
    if (fault === 'fails and happens late') late.push(later)
    if (fault === 'fails after') await now()
    if (fault.startsWith('fails')) throw failure()
    if (fault === 'dies after') await now().catch(() => {})
    if (fault !== 'dies waiting') dead = true
    fall()
    return never()
  }

  async function quiet(): Promise<void> {
    do {
      await Promise.allSettled(underWay)
      // What goes on after a call begins its next one before this is over.
      for (let turns = 0; turns < 2; turns += 1) await new Promise(setImmediate)
    } while (underWay.size > 0)
  }

  return {
    repository: through(ports.repository, pass, () => new Problem('database_unavailable', 'A fault of the test.')),
    storage: through(ports.storage, pass, storeFails),
    tusStores: tusThrough(ports.tusStores, pass),
    events: through(ports.events, pass, () => new Error('a fault of the test')),
    calls,
    struck: () => plan !== undefined && calls.length >= plan.at,
    fallen,
    quiet,
    async end() {
      await quiet()
      dead = true
      for (const call of late) await call().catch(() => {})
    },
  }
}

function faultOf(call: number, plan: Plan | undefined): Fault | undefined {
  if (plan === undefined || call < plan.at) return undefined
  return call === plan.at || plan.fault === 'fails with all after it' ? plan.fault : undefined
}

const storeFails = () => new Problem('storage_unavailable', 'A fault of the test.')

/** A store is opened without a call to the outside. */
function tusThrough(stores: Ports['tusStores'], pass: Pass): Ports['tusStores'] {
  return {
    hasAll: (...asked) => pass('tus.hasAll', () => stores.hasAll(...asked), storeFails),
    open: (request) => through(stores.open(request), pass, storeFails, 'tus.'),
  }
}

type Pass = <T>(name: string, call: () => Promise<T>, failure: () => Error) => Promise<T>

/** The same port, with each call led through `pass`, those of its parts too. */
function through<Port extends object>(port: Port, pass: Pass, failure: () => Error, path = ''): Port {
  return new Proxy(port, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member === 'object' && member !== null)
        return through(member, pass, failure, `${path}${String(name)}.`)
      if (typeof member !== 'function') return member
      return (...args: unknown[]) =>
        pass(`${path}${String(name)}`, () => Promise.resolve(Reflect.apply(member, port, args)), failure)
    },
  })
}
