/** What the figures of all rounds say, beside the goals. */
import type { Name } from './contestants.ts'
import { type Measured, type Operation, operations, type Visit } from './visit.ts'

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

// The most CPU time it may take, as a part of what another one (the reference, if it is not said) takes for `of`.
const ratios: { operation: Operation; of: Operation; by?: Name; most: number }[] = [
  { operation: 'upload', of: 'upload', most: 0.42 },
  { operation: 'upload3m', of: 'upload3m', most: 0.4 },
  { operation: 'presign', of: 'presign', most: 0.2 },
  { operation: 'get', of: 'get', most: 0.17 },
  { operation: 'delete', of: 'delete', most: 0.42 },
  { operation: 'complete', of: 'upload', most: 0.6 },
  { operation: 'list', of: 'get', most: 0.6 },
  { operation: 'firstRendition', of: 'firstRendition', by: 'floor', most: 1.15 },
  { operation: 'rendition', of: 'get', by: 'ours', most: 1.2 },
]
const LEAST_THROUGHPUT = 0.48
const MOST_READY_MS = 700

export type Report = { table: string; details: string; met: boolean }

/** As Markdown. Noise of the machine only ever adds CPU time, so beside the medians of the rounds stand their minima. */
export function report(rounds: Round[]): Report {
  const every = (name: Name, operation: Operation, figure: (measured: Measured) => number) =>
    rounds.flatMap((round) => round[name]?.measured[operation] ?? []).map(figure)
  const rows: string[][] = []
  let met = true
  const judge = (missedBy: number) => {
    met &&= missedBy <= 0
    return missedBy <= 0 ? 'met' : `missed by ${Math.ceil(missedBy * 100)} %`
  }
  for (const { operation, of, by = 'reference', most } of ratios) {
    const [ours, theirs] = [every('ours', operation, cpuOf), every(by, of, cpuOf)]
    if (ours.length === 0 || theirs.length === 0) continue
    const ratio = median(ours) / median(theirs)
    const against = { reference: of === operation ? '' : ` (${of})`, ours: ` (our ${of})`, floor: ' (sharp alone)' }[by]
    rows.push([
      titles[operation],
      seconds(ours),
      `${seconds(theirs)}${against}`,
      `${ratio.toFixed(2)} (${(Math.min(...ours) / Math.min(...theirs)).toFixed(2)})`,
      `${most}`,
      judge(ratio / most - 1),
    ])
  }
  const [own, raw] = [every('ours', 'upload', rpsOf), every('floor', 'upload', rpsOf)]
  if (own.length > 0 && raw.length > 0) {
    const share = median(own) / median(raw)
    const best = (Math.max(...own) / Math.max(...raw)).toFixed(2)
    rows.push([
      'uploads of 30 KB a second, against PUTs to the store itself',
      median(own).toFixed(0),
      median(raw).toFixed(0),
      `${share.toFixed(2)} (${best})`,
      `${LEAST_THROUGHPUT}, at least`,
      judge(1 - share / LEAST_THROUGHPUT),
    ])
  }
  const ready = rounds.flatMap((round) => round.ours?.readyMs ?? [])
  if (ready.length > 0) {
    const [value, best] = [median(ready), Math.min(...ready)]
    const row = ['start to ready, ms', `${value.toFixed(0)} (${best.toFixed(0)})`, '', '', `${MOST_READY_MS}`]
    rows.push([...row, judge(value / MOST_READY_MS - 1)])
  }
  const bad = rounds.flatMap((round) => Object.values(round).flatMap(({ measured }) => Object.values(measured)))
  if (bad.some((measured) => measured.bad > 0)) met = false
  return {
    table: markdown(['CPU seconds per 1,000 requests', 'ours', 'reference', 'ratio', 'goal', ''], rows),
    details: details(rounds),
    met,
  }
}

function details(rounds: Round[]): string {
  const rows = operations.flatMap((operation) =>
    (['ours', 'reference', 'floor'] as const).flatMap((name) => {
      const all = rounds.flatMap((round) => round[name]?.measured[operation] ?? [])
      if (all.length === 0) return []
      const middle = (figure: (measured: Measured) => number, digits: number) => median(all.map(figure)).toFixed(digits)
      return [
        [
          titles[operation],
          name,
          middle(rpsOf, 0),
          `${middle(({ p50 }) => p50, 1)} / ${middle(({ p99 }) => p99, 1)}`,
          middle(({ behind }) => behind.store, 2),
          middle(({ behind }) => behind.database, 2),
          middle(({ behind }) => behind.events, 2),
          String(all.reduce((sum, { bad }) => sum + bad, 0)),
        ],
      ]
    }),
  )
  const head = [
    'operation',
    '',
    'a second',
    'p50 / p99, ms',
    'CPU of the store',
    'of the database',
    'of Redis',
    'failed',
  ]
  return markdown(head, rows)
}

const cpuOf = ({ cpu }: Measured) => cpu
const rpsOf = ({ rps }: Measured) => rps

function seconds(values: number[]): string {
  return `${median(values).toFixed(3)} (${Math.min(...values).toFixed(3)})`
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

function markdown(head: string[], rows: string[][]): string {
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '--:')), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
