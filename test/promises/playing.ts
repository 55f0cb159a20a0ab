/** Plays a sequence on a world and on the model at once, and compares what is seen. */

import { expect } from 'bun:test'
import type { Caller } from '../../src/auth/caller.ts'
import type { StoredObject } from '../../src/media/object/object.ts'
import type { UploadLink } from '../../src/media/uploads/presigned.ts'
import { Problem } from '../../src/problem.ts'
import { audit } from './audit.ts'
import type { Plan, Turn } from './circuit.ts'
import { type Answer, after, type Call, type Observation, type State, show } from './model.ts'
import { pdf, picture } from './pictures.ts'
import { attempt, byOneProcess, type Outcome, passOver, type Replica, soundly, startReplica } from './replica.ts'
import { type Act, PEOPLE, type Step } from './sequences.ts'
import { interleave } from './turns.ts'
import { PENDING_SECONDS, UPLOAD_URL_SECONDS, type World } from './world.ts'

const gif = picture('image/gif', 300)
const png = picture('image/png', 400)
// A PUT that began in a link's last second may take that long; the service waits a little longer.
const LATE_SECONDS = 3500

type Thing = {
  /** Undefined while nobody was told it. */
  id: string | undefined
  owner: Caller
  /** As it was called first, and the key it was uploaded with; no other has it. */
  name: string
  /** As it was first. */
  isPublic: boolean
  link: UploadLink | undefined
  /** Unix time in milliseconds. */
  putUntil: number
  states: State[]
}

/** Throws when what is seen on the way or in the end can't be. */
export async function play(world: World, steps: readonly Step[]): Promise<void> {
  await world.clear()
  const people = Array.from({ length: PEOPLE }, (): Caller => ({ userId: crypto.randomUUID(), role: 'user' }))
  const things: Thing[] = []
  let busUp = true
  let names = 0
  const shared: World = {
    ...world,
    events: {
      ...world.events,
      publish: (events) => (busUp ? world.events.publish(events) : Promise.reject(new Error('the bus is down'))),
    },
  }
  const { clock } = world
  const start = (plan: Plan | null, turn?: Turn) =>
    startReplica(shared, { ...(plan && { plan }), ...(turn && { turn }) })
  const startUnlimited = (plan: Plan | null) => startReplica(shared, { ...(plan && { plan }), unlimited: true })

  async function play(step: Step): Promise<void> {
    switch (step.do) {
      case 'wait':
        return clock.advance(step.seconds)
      case 'bus':
        busUp = step.up
        return
      case 'list':
        return compareLists(world, people[step.person] ?? stranger, things, false)
      case 'upload':
        return upload(newThing(step.person, step.isPublic), step.fault)
      case 'presign':
        return presign(step)
      case 'at once':
        return atOnce(step.acts, step.fault)
    }
    const thing = chosen(step.object)
    if (thing === undefined) return
    if (step.do === 'upload again') return uploadAgain(thing, step.fault)
    if (step.do === 'act') return together(thing, [step.act], (acts) => acts(undefined), step.fault)
    return together(thing, step.acts, (acts) => interleave(step.order, acts), step.fault)
  }

  function newThing(person: number, isPublic: boolean): Thing {
    names += 1
    return {
      id: undefined,
      owner: people[person] ?? stranger,
      name: `thing ${names}`,
      isPublic,
      link: undefined,
      putUntil: 0,
      states: [],
    }
  }

  function chosen(number: number): Thing | undefined {
    const known = things.filter(({ id }) => id !== undefined)
    return known[number % Math.max(1, known.length)]
  }

  async function upload(thing: Thing, fault: Plan | null): Promise<void> {
    settle(thing, await send(thing, fault), fault)
  }

  function send({ name, isPublic, owner }: Thing, fault: Plan | null): Promise<Outcome<StoredObject>> {
    const visibility = isPublic ? 'public' : 'private'
    const file = { name, bytes: gif, visibility, idempotencyKey: name } as const
    return attempt(start(fault), ({ media }) => media.uploads.direct(owner, file))
  }

  function settle(thing: Thing, outcome: Outcome<StoredObject>, fault: Plan | null): void {
    const { name, isPublic } = thing
    const state: State = { status: 'active', since: clock.now(), bytes: 'right', name, isPublic }
    if (outcome.kind === 'answered') thing.id = outcome.value.id
    else expectFault(outcome, fault)
    // Also half done, so that upkeep completes it.
    const others = (['pending', 'gone'] as const).map((status) => ({ ...state, status }))
    thing.states = outcome.kind === 'answered' ? [state] : [state, ...others]
    things.push(thing)
  }

  /** The same request again, a minute later: the same object, a conflict once it is deleted, or anew if it is gone. */
  async function uploadAgain(thing: Thing, fault: Plan | null): Promise<void> {
    if (thing.link) return
    await clock.advance(67)
    const outcome = await send(thing, fault)
    const id = conflictOf(outcome)
    if (id !== undefined) {
      expect(thing.id).toBe(id)
      thing.states = thing.states.filter(({ status }) => status === 'deleted' || status === 'gone')
      expect(thing.states, 'a retry was told of a deletion that nobody asked for').not.toEqual([])
      return
    }
    const again: Thing = { ...thing, id: undefined }
    settle(again, outcome, fault)
    if (again.id === undefined) return
    // The same one may have been renamed or hidden since.
    const same = again.id === thing.id
    if (same) things.pop()
    // One that was half done is given up, so that this one can take its place.
    thing.states = thing.states
      .filter(({ status }) => (same ? status === 'active' : status === 'gone' || status === 'pending'))
      .map((state) => (same ? state : { ...state, status: 'gone' }))
    expect(thing.states, 'a retry was given what is gone, or not given what is there').not.toEqual([])
  }

  async function presign(step: Step & { do: 'presign' }): Promise<void> {
    const { fault } = step
    const made = Array.from({ length: step.count }, () => newThing(step.person, step.isPublic))
    const unbound = { size: undefined, sha256: undefined, idempotencyKey: undefined }
    const outcomes = await byOneProcess(
      startUnlimited(fault),
      made.map(({ name, isPublic, owner }) => ({ media }) => {
        const visibility = isPublic ? 'public' : 'private'
        return media.uploads.presign(owner, { filename: name, fileType: 'image/png', visibility, ...unbound })
      }),
    )
    for (const [i, thing] of made.entries()) {
      const outcome = outcomes[i]
      if (outcome?.kind !== 'answered') {
        if (outcome) expectFault(outcome, fault)
        continue
      }
      thing.id = outcome.value.id
      thing.link = outcome.value
      thing.putUntil = clock.now() + (UPLOAD_URL_SECONDS + LATE_SECONDS) * 1000
      const { name, isPublic } = thing
      if (step.arrived) await putOn(thing, { right: true })
      const bytes = step.arrived ? 'right' : 'none'
      thing.states = [{ status: 'pending', since: clock.now(), bytes, name, isPublic }]
      things.push(thing)
    }
  }

  /** What one process is asked for at the same time, about several objects. A fault may be that of any of them. */
  async function atOnce(acts: { object: number; act: Act }[], fault: Plan | null): Promise<void> {
    const asked = acts.flatMap(({ object, act }) => {
      const thing = chosen(object)
      if (thing === undefined || (act.do === 'put' && !canPut(thing))) return []
      return [{ thing, call: callOf(act) }]
    })
    // A client's PUT arrives also where the process dies.
    const puts: Promise<void>[] = []
    const replica = start(fault)
    const outcomes = await byOneProcess(
      replica,
      asked.map(({ thing, call }) => (process) => {
        if (call.do !== 'put') return make(process, thing, call)
        puts.push(putOn(thing, call))
        return Promise.resolve('ok')
      }),
    )
    await Promise.all(puts)
    const faulty = fault !== null && replica.circuit.struck()
    const now = clock.now()
    for (const one of things) {
      const observations = asked.flatMap(({ thing, call }, i): Observation[] => {
        const outcome = outcomes[i]
        if (outcome === undefined || (thing !== one && call.do !== 'upkeep')) return []
        if (call.do === 'put') return [{ call, answer: 'ok', faulty: false }]
        return [{ call, answer: answerOf(outcome), faulty }]
      })
      observe(one, observations, now)
    }
  }

  /** Does one or more things at the same time to one object; upkeep, whoever it was meant for, sees all of them. */
  async function together(
    thing: Thing,
    acts: Act[],
    order: (work: (turn: Turn | undefined) => Promise<Observation[]>) => Promise<Observation[]>,
    fault: Plan | null,
  ): Promise<void> {
    const calls = acts.filter((act) => act.do !== 'put' || canPut(thing)).map((act) => callOf(act))
    const observations = await order((turn) =>
      Promise.all(calls.map((call, index) => ask(thing, call, index === 0 ? fault : null, turn))),
    )
    const now = clock.now()
    for (const one of things)
      observe(one, one === thing ? observations : observations.filter(({ call }) => call.do === 'upkeep'), now)
  }

  function observe(thing: Thing, observations: Observation[], now: number): void {
    const states = after(thing.states, observations, now)
    expect(states, `${JSON.stringify(observations)} of ${JSON.stringify(thing.states)}`).not.toEqual([])
    thing.states = states
  }

  function callOf(act: Act): Call {
    if (act.do !== 'update') return act
    names += 1
    return { ...act, name: `name ${names}` }
  }

  const canPut = ({ link, putUntil }: Thing) => link !== undefined && clock.now() < putUntil

  async function ask(thing: Thing, call: Call, fault: Plan | null, turn?: Turn): Promise<Observation> {
    if (call.do === 'put') {
      const put = () => putOn(thing, call)
      await (turn ? turn(put) : put())
      return { call, answer: 'ok', faulty: false }
    }
    const replica = start(fault, turn)
    const outcome = await attempt(replica, (process) => make(process, thing, call))
    return { call, answer: answerOf(outcome), faulty: fault !== null && replica.circuit.struck() }
  }

  async function putOn({ link }: Thing, { right }: { right: boolean }): Promise<void> {
    if (link === undefined) throw new Error('there is no link to put on')
    await world.put(link, right ? png : pdf)
  }

  async function make({ media, relay, upkeep }: Replica, { id = '', owner }: Thing, call: Call): Promise<Answer> {
    if (call.do === 'put') throw new Error('no call of the service')
    if (!('mine' in call)) return (call.do === 'upkeep' ? upkeep.run() : relay.run()).then(() => 'ok')
    const caller = call.mine ? owner : stranger
    if (call.do === 'delete') return media.objects.remove(id, caller).then(() => 'ok')
    if (call.do === 'get') return showObject(await media.objects.get(id, caller))
    if (call.do === 'complete') return showObject(await media.uploads.complete(id, caller))
    if (call.do === 'restore') return showObject(await media.objects.restore(id, caller))
    if (call.do !== 'update') throw new Error(`no such call: ${call.do}`)
    const change = { originalName: call.name, visibility: call.isPublic ? 'public' : 'private' } as const
    return showObject(await media.objects.update(id, caller, change))
  }

  for (const step of steps) await play(step)
  busUp = true
  await clock.advance(PENDING_SECONDS + 200)
  expect([...(await passOver(world)), ...(await audit(world))]).toEqual([])
  for (const thing of things) {
    thing.states = after(thing.states, [{ call: { do: 'upkeep' }, answer: 'ok', faulty: false }], clock.now())
  }
  for (const person of people) await compareLists(world, person, things, true)
}

const stranger: Caller = { userId: crypto.randomUUID(), role: 'user' }

const showObject = ({ originalName, visibility }: StoredObject) =>
  show({ name: originalName, isPublic: visibility === 'public' })

function answerOf(outcome: Outcome<Answer>): Answer {
  if (outcome.kind === 'answered') return outcome.value
  if (outcome.kind === 'killed') return 'unknown'
  const { error } = outcome
  if (!(error instanceof Problem)) return 'unknown'
  return error.kind === 'outage' ? 'unknown' : error.code
}

/** The object that an Idempotency-Key belongs to for good, where that is why a call was refused. */
function conflictOf(outcome: Outcome<unknown>): string | undefined {
  if (outcome.kind !== 'refused' || !(outcome.error instanceof Problem)) return undefined
  return outcome.error.code === 'state_conflict' ? outcome.error.id : undefined
}

/** Without a fault of its own a call of this kind has nothing to fail of. */
function expectFault(outcome: Outcome<unknown>, fault: Plan | null): void {
  if (outcome.kind === 'refused' && (fault === null || !(outcome.error instanceof Problem))) throw outcome.error
}

/** What a person sees in the list and in the bin, against what may be seen; narrows that down to what was. */
async function compareLists(world: World, person: Caller, things: Thing[], last: boolean): Promise<void> {
  const page = { type: undefined, before: undefined, limit: 100 }
  const seen = await soundly(world, async ({ media }) => [
    ...(await media.objects.list(person, { ...page, status: 'active' })).objects,
    ...(await media.objects.list(person, { ...page, status: 'deleted' })).objects,
  ])
  const own = things.filter(({ owner }) => owner === person)
  const surprises = seen.filter(({ id }) => !own.some((thing) => thing.id === id))
  for (const { id, originalName } of surprises) {
    const ghost = own.find((thing) => thing.id === undefined && thing.name === originalName)
    expect(ghost, `an object that nobody made: ${originalName}`).toBeDefined()
    if (ghost) ghost.id = id
  }
  for (const thing of own) {
    const object = seen.find(({ id }) => id === thing.id)
    const states = thing.states.filter((state) =>
      object === undefined
        ? state.status === 'pending' || state.status === 'gone'
        : state.status === object.status && show(state) === showObject(object),
    )
    expect(states, `${object?.status ?? 'nothing'} seen of ${JSON.stringify(thing)}`).not.toEqual([])
    thing.states = states
    if (last && object) expect(object.status).not.toBe('pending')
  }
}
