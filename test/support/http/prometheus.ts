import { expect } from 'bun:test'

export type Sample = { name: string; labels: Record<string, string>; value: number }
export type Family = { name: string; help: string; type: string; samples: Sample[] }

/**
 * Reads Prometheus' text format.
 * @throws Error when a line is none of it, or a sample is of no family that was announced
 */
export function parseMetrics(text: string): Family[] {
  const families: Family[] = []
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [, word, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    const family = families.at(-1)
    if (word === 'HELP') families.push({ name, help: rest, type: '', samples: [] })
    else if (word === 'TYPE' && family?.name === name) family.type = rest
    else if (family !== undefined) family.samples.push(parseSample(line, family))
    else throw new Error(`before any family: ${line}`)
  }
  return families
}

/** What a service says of itself now. */
export async function scrape(baseUrl: string): Promise<Family[]> {
  const answer = await fetch(`${baseUrl}/metrics`)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  return parseMetrics(await answer.text())
}

/** The sum of what all samples of this name have that have these labels; undefined when there is none. */
export function sumOf(families: Family[], name: string, labels: Record<string, string> = {}): number | undefined {
  const found = families
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.name === name && Object.entries(labels).every(([l, v]) => sample.labels[l] === v))
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0)
}

function parseSample(line: string, family: Family): Sample {
  const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
  const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
  if (!suffixes.some((suffix) => name === family.name + suffix)) throw new Error(`not of ${family.name}: ${line}`)
  const pairs = [...labels.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)/g)]
  return { name, labels: Object.fromEntries(pairs.map(([, l = '', v = '']) => [l, v])), value: numberOf(value) }
}

function numberOf(value: string): number {
  return value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value)
}
