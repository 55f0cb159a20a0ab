/**
 * What must be visible to whom, as simple as it can be said: what an object may be, and what each call then answers
 * and makes of it. A call whose outcome nobody knows leaves more than one thing that it may be.
 */
import { AUTO_COMPLETE_SECONDS, PENDING_SECONDS, RETENTION_SECONDS } from './world.ts'

export type State = {
  /** `gone` is all that nobody can see any more. */
  status: 'pending' | 'active' | 'deleted' | 'gone'
  /** When it came to be so, Unix time in milliseconds. */
  since: number
  /** What has arrived under its link: nothing, what was declared, something else. */
  bytes: 'none' | 'right' | 'wrong'
  name: string
  isPublic: boolean
}

/** One call on one object; `mine` when its owner makes it. */
export type Call =
  | { do: 'get' | 'complete' | 'delete' | 'restore'; mine: boolean }
  | { do: 'update'; mine: boolean; name: string; isPublic: boolean }
  | { do: 'put'; right: boolean }
  | { do: 'upkeep' | 'relay' }

/** What the caller saw: `ok`, with what it shows of the object, or a problem's code; `unknown` when it got no answer. */
export type Answer = string
type Possible = { answer: Answer; state: State }

export const show = ({ name, isPublic }: { name: string; isPublic: boolean }): Answer => `ok ${name} ${isPublic}`

/** What the call may answer when the object is in this state, and what it then is. */
function possible(call: Call, state: State, now: number): Possible[] {
  const { status } = state
  const missing: Possible[] = [{ answer: 'not_found', state }]
  const becomes = (next: Partial<State>, answer = show({ ...state, ...next })): Possible[] => [
    { answer, state: { ...state, ...next } },
  ]
  switch (call.do) {
    case 'get':
      return status === 'active' && (call.mine || state.isPublic) ? becomes({}) : missing
    case 'update':
      return call.mine && status === 'active' ? becomes({ name: call.name, isPublic: call.isPublic }) : missing
    case 'delete':
      return call.mine && status === 'active' ? becomes({ status: 'deleted', since: now }, 'ok') : missing
    case 'restore':
      if (!call.mine || status !== 'deleted') return missing
      return perhaps(now - state.since, RETENTION_SECONDS, missing, becomes({ status: 'active', since: now }))
    case 'complete':
      if (!call.mine || status === 'deleted' || status === 'gone') return missing
      if (status === 'active') return becomes({})
      if (state.bytes === 'none') return becomes({}, 'upload_incomplete')
      return state.bytes === 'right'
        ? becomes({ status: 'active', since: now })
        : becomes({ status: 'gone', since: now }, 'media_type_unsupported')
    case 'put':
      return state.bytes === 'none' ? becomes({ bytes: call.right ? 'right' : 'wrong' }, 'ok') : becomes({}, 'ok')
    case 'relay':
      return becomes({}, 'ok')
    case 'upkeep': {
      const gone = becomes({ status: 'gone', since: now }, 'ok')
      const same = becomes({}, 'ok')
      if (status === 'deleted') return perhaps(now - state.since, RETENTION_SECONDS, gone, same)
      if (status !== 'pending') return same
      // What has arrived is completed, or refused, as by its client; only what is absent expires.
      const looked = state.bytes === 'right' ? becomes({ status: 'active', since: now }, 'ok') : gone
      const early =
        state.bytes === 'none' ? same : perhaps(now - state.since, AUTO_COMPLETE_SECONDS, [...looked, ...same], same)
      return perhaps(now - state.since, PENDING_SECONDS, looked, early)
    }
  }
}

const CLOSE_MS = 120_000

/** Whether so much time is over a limit; too close to it either may be. */
function perhaps(elapsed: number, limitSeconds: number, over: Possible[], within: Possible[]): Possible[] {
  const ahead = elapsed - limitSeconds * 1000
  if (Math.abs(ahead) < CLOSE_MS) return [...over, ...within]
  return ahead > 0 ? over : within
}

/** One call and what was seen of it. `faulty`: something went wrong for it, of which the answer may tell nothing. */
export type Observation = { call: Call; answer: Answer; faulty: boolean }

/** What an object may be after one call, or after several at the same time; none when what was seen can't be. */
export function after(states: State[], observations: Observation[], now: number): State[] {
  const racing = observations.length > 1
  const ends = orders(observations).flatMap((order) =>
    order.reduce((before, { call, answer, faulty }) => {
      return before.flatMap((state) =>
        possible(call, state, now).flatMap((next) => {
          if (answer === 'unknown') return [state, next.state]
          if (answer === next.answer) return faulty ? [state, next.state] : [next.state]
          // It was looked at before it went, or its bytes were taken away between two looks at it.
          const late = racing && call.do === 'complete' && call.mine && state.status === 'gone'
          if (late && ['upload_incomplete', 'media_type_unsupported', 'state_conflict'].includes(answer)) return [state]
          // Another change moved it meanwhile.
          const overtaken = racing && call.do === 'update' && call.mine && answer === 'state_conflict'
          return overtaken && state.status === 'active' ? [state] : []
        }),
      )
    }, states),
  )
  return [...new Map(ends.map((state) => [JSON.stringify(state), state])).values()]
}

function orders<T>(items: T[]): T[][] {
  if (items.length <= 1) return [items]
  return items.flatMap((item, index) => orders(items.toSpliced(index, 1)).map((rest) => [item, ...rest]))
}
