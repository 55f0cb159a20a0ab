/** Several clients that complete, delete and restore the same objects at several replicas, in opposite orders. */
import type { Answer, PatientClient } from './client.ts'
import type { Wish } from './load.ts'

/** An object whose bytes have been put on its link, and what its wish says of it. */
export type Prize = { wish: Wish; id: string }

/** `won`: how many changes one rival has certainly made. */
type Outcome = { faults: string[]; won: number }

type Contest = {
  what: string
  /** What changes the object, or is told that somebody else has. */
  ask(rival: PatientClient, prize: Prize): Promise<Answer | null>
  won: number
  lost: number
  state: Wish['state']
}

const act =
  (method: string, path: string) =>
  (rival: PatientClient, { wish, id }: Prize) =>
    rival.call(wish.user, `/media/${id}${path}`, { method })

const CONTESTS: Contest[] = [
  { what: 'delete', ask: act('DELETE', ''), won: 204, lost: 404, state: 'deleted' },
  { what: 'restore', ask: act('POST', '/restore'), won: 200, lost: 404, state: 'active' },
  { what: 'delete', ask: act('DELETE', ''), won: 204, lost: 404, state: 'deleted' },
]

/**
 * Has all rivals ask for the same of all of these, at the same time, every other one from the last to the first. Returns
 * what should not have been answered; the states of the wishes are what the answers say.
 */
export async function compete(rivals: readonly PatientClient[], prizes: readonly Prize[]): Promise<Outcome> {
  const faults: string[] = []
  const completed = await askAll(rivals, prizes, act('POST', '/complete'))
  const stored: Prize[] = []
  for (const [prize, answers] of completed) {
    const done = answers.filter((answer) => answer?.status === 200)
    // 404 and 409: it took longer than an upload may.
    for (const answer of answers)
      if (answer !== null && ![200, 404, 409].includes(answer.status)) faults.push(told('complete', prize, answer))
    if (done.length === 0) continue
    prize.wish.id = prize.id
    prize.wish.state = 'active'
    if (done.length === rivals.length) stored.push(prize)
  }
  let left = stored
  let won = 0
  for (const contest of CONTESTS) {
    left = await hold(contest, rivals, left, faults)
    won += left.length
  }
  return { faults, won }
}

/** Returns those objects of which it is certain that one rival has won them. */
async function hold(
  contest: Contest,
  rivals: readonly PatientClient[],
  prizes: Prize[],
  faults: string[],
): Promise<Prize[]> {
  const { what, ask, won, lost, state } = contest
  const certain: Prize[] = []
  for (const [prize, answers] of await askAll(rivals, prizes, ask)) {
    const winners = answers.filter((answer) => answer?.status === won).length
    for (const answer of answers)
      if (answer !== null && ![won, lost].includes(answer.status)) faults.push(told(what, prize, answer))
    if (winners > 1) faults.push(`${prize.id}: ${winners} won the same ${what}`)
    // Without an answer, or after one that was lost, another attempt may have won it.
    const unsure = answers.some((answer) => answer === null || answer.unsure)
    if (winners === 0 && !unsure && what === 'delete') faults.push(`${prize.id}: nobody won the ${what}`)
    prize.wish.state = winners === 1 ? state : 'open'
    if (winners === 1) certain.push(prize)
  }
  return certain
}

/** The answers for each object, from each rival. */
async function askAll(
  rivals: readonly PatientClient[],
  prizes: readonly Prize[],
  ask: Contest['ask'],
): Promise<Map<Prize, (Answer | null)[]>> {
  const answers = await Promise.all(
    rivals.map(async (rival, i) => {
      const order = i % 2 === 0 ? prizes : prizes.toReversed()
      return new Map(await Promise.all(order.map(async (prize) => [prize, await ask(rival, prize)] as const)))
    }),
  )
  return new Map(prizes.map((prize) => [prize, answers.map((of) => of.get(prize) ?? null)]))
}

function told(what: string, { id }: Prize, { status, body }: Answer): string {
  return `${id}: ${what} by one of several: ${status} ${JSON.stringify(body)}`
}
