/** What the figures of all rounds say, beside the goals. */
import type { Name } from './contestants.ts'
import {
  FLOOR_THROUGHPUT,
  LEAST_THROUGHPUT,
  MOST_DATABASE_CPU,
  MOST_READY_MS,
  MOST_WHEN_CROWDED,
  type Ratio,
  ratios,
} from './goals.ts'
import type { Visit } from './visit.ts'
import { type Measured, type Operation, operations, usualConnections } from './workload.ts'

export type Round = Partial<Record<Name, Visit>>

const titles: Record<Operation, string> = {
  upload: 'upload, 30 KB JPEG',
  upload3m: 'upload, 3 MB JPEG',
  presign: 'presign',
  complete: 'complete, 30 KB JPEG',
  get: 'get with signed link',
  list: 'list of 20 with signed links',
  delete: 'delete',
  firstRendition: 'first rendition of 12 megapixels, 640 px WebP',
  rendition: 'the same rendition again',
}

/** As Markdown. `table` has ratios, `goals` whether they are good enough. */
export type Report = { table: string; goals: string; details: string; met: boolean }

/** Noise of the machine only ever adds CPU time, so beside the medians of the rounds stand their minima. */
export function report(rounds: Round[]): Report {
  const every = (name: Name, operation: Operation, connections?: number): Measured[] =>
    rounds
      .flatMap((round) => round[name]?.measured ?? [])
      .filter((one) => one.operation === operation && isAt(one, connections))
  const table: string[][] = []
  const goals: string[][] = []
  let met = true
  const judge = (what: string, value: number, goal: number, why: string, { atLeast = false, floor = goal } = {}) => {
    if (Number.isNaN(value)) return
    const reaches = (wanted: number) => (atLeast ? value >= wanted : value <= wanted)
    met &&= reaches(floor)
    const missed = reaches(floor) ? `missed, within the floor of ${floor}` : 'MISSED'
    const verdict = reaches(goal) ? 'met' : `${missed}: ${why}`
    goals.push([what, value.toFixed(2), `${atLeast ? 'at least ' : ''}${goal}`, verdict])
  }

  for (const goal of ratios) {
    const { name, operation, of, by, most, floor = most } = goal
    const [ours, theirs] = [every(name, operation), every(by, of)]
    const ratio = median(ours.map(cpuOf)) / median(theirs.map(cpuOf))
    if (Number.isNaN(ratio)) continue
    const title = `${titles[operation]}${name === 'limited' ? ', with rate limit and quotas' : ''}`
    table.push([title, seconds(ours), `${seconds(theirs)}${against(goal)}`, ratio.toFixed(2)])
    judge(title, ratio, most, whereItGoes(ours, theirs), { floor })
    const crowded = median(every(name, operation, 64).map(cpuOf)) / median(every(by, of, 64).map(cpuOf))
    judge(`${title}: ratio at 64 connections, of that at 16`, crowded / ratio, MOST_WHEN_CROWDED, crowded.toFixed(2))
  }
  const [own, raw] = [every('ours', 'upload'), every('floor', 'upload')]
  const share = median(own.map(rpsOf)) / median(raw.map(rpsOf))
  if (!Number.isNaN(share)) {
    const title = 'uploads of 30 KB a second, against PUTs to the store itself'
    table.push([title, median(own.map(rpsOf)).toFixed(0), median(raw.map(rpsOf)).toFixed(0), share.toFixed(2)])
    judge(title, share, LEAST_THROUGHPUT, whereItGoes(own, raw), { atLeast: true, floor: FLOOR_THROUGHPUT })
  }
  const database = median(own.map(({ behind }) => behind.database))
  judge("Postgres' CPU seconds per 1,000 uploads", database, MOST_DATABASE_CPU, whereItGoes(own, []))
  const ready = rounds.flatMap((round) => round.ours?.readyMs ?? [])
  if (ready.length > 0) table.push(['start to ready, ms', median(ready).toFixed(0), '', ''])
  judge('start to ready, ms', median(ready), MOST_READY_MS, 'see the log of the start')
  const bad = rounds.flatMap((round) => Object.values(round).flatMap(({ measured }) => measured))
  if (bad.some((measured) => measured.bad > 0)) met = false
  return {
    table: markdown(['CPU seconds per 1,000 requests', 'ours', 'reference', 'ratio'], table),
    goals: markdown(['', 'is', 'goal', ''], goals),
    details: details(every),
    met,
  }
}

function against({ operation, of, by }: Ratio): string {
  if (by === 'floor') return ' (sharp alone)'
  if (by === 'ours') return ' (without)'
  return of === operation ? '' : ` (${of})`
}

/** For what is missed: CPU seconds per 1,000 of each process that has a part in it. */
function whereItGoes(ours: Measured[], theirs: Measured[]): string {
  const parts = (all: Measured[]) => {
    const part = (figure: (measured: Measured) => number) => median(all.map(figure)).toFixed(3)
    return [
      `itself ${part(cpuOf)}`,
      `store ${part(behind('store'))}`,
      `Postgres ${part(behind('database'))}`,
      `Redis ${part(behind('events'))}`,
    ].join(', ')
  }
  return theirs.length === 0 ? parts(ours) : `${parts(ours)}; the other: ${parts(theirs)}`
}

const behind = (which: keyof Measured['behind']) => (measured: Measured) => measured.behind[which]

function details(every: (name: Name, operation: Operation, connections: number) => Measured[]): string {
  const rows = operations.flatMap((operation) =>
    [0, 1, 4, 8, 16, 64].flatMap((connections) =>
      (['ours', 'limited', 'reference', 'floor'] as const).flatMap((name) => {
        const all = every(name, operation, connections)
        if (all.length === 0) return []
        const middle = (figure: (measured: Measured) => number, digits: number) =>
          median(all.map(figure)).toFixed(digits)
        return [
          [
            titles[operation],
            connections === 0 ? '' : String(connections),
            name,
            middle(cpuOf, 3),
            middle(rpsOf, 0),
            `${middle(({ p50 }) => p50, 1)} / ${middle(({ p99 }) => p99, 1)}`,
            middle(behind('store'), 2),
            middle(behind('database'), 2),
            middle(behind('events'), 2),
            String(all.reduce((sum, { bad }) => sum + bad, 0)),
          ],
        ]
      }),
    ),
  )
  const measures = ['CPU', 'a second', 'p50 / p99, ms', 'CPU of the store', 'of Postgres', 'of Redis', 'failed']
  return markdown(['operation', 'at once', '', ...measures], rows)
}

/** Without a number: as many as usual, or what sharp did alone. */
function isAt({ operation, connections }: Measured, wanted: number | undefined): boolean {
  return wanted === undefined
    ? connections === 0 || connections === usualConnections(operation)
    : connections === wanted
}

const cpuOf = ({ cpu }: Measured) => cpu
const rpsOf = ({ rps }: Measured) => rps

function seconds(measured: Measured[]): string {
  const values = measured.map(cpuOf)
  return `${median(values).toFixed(3)} (${Math.min(...values).toFixed(3)})`
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

export function markdown(head: string[], rows: string[][]): string {
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '--:')), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
