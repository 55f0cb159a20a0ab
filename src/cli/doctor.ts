/**
 * `bun run doctor [--json] [--fix] [--gateway URL] [--header 'NAME: VALUE']`: looks at the set-up that the settings
 * describe and prints one line with the remedy for each finding. Exit code 1 when there is any.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { type Diagnosis, diagnose } from '../doctor/examine.ts'
import { type Finding, sentenceOf } from '../finding.ts'

const USAGE = "usage: bun run doctor [--json] [--fix] [--gateway URL] [--header 'NAME: VALUE']"
const MARKS: Record<Finding['severity'], string> = { wrong: '✗', warning: '!', unknown: '?' }

try {
  const { json, ...options } = readOptions()
  const { findings, lookedAt } = await diagnose(undefined, options)
  if (json) console.log(JSON.stringify({ findings, lookedAt }, null, 2))
  else print({ findings, lookedAt })
  if (findings.length > 0) process.exitCode = 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      fix: { type: 'boolean', default: false },
      gateway: { type: 'string' },
      header: { type: 'string', multiple: true, default: [] },
    },
  })
  const { json, fix, gateway } = values
  if (gateway !== undefined && !URL.canParse(gateway)) throw new Error(USAGE)
  const headers = values.header.map((line) => {
    const [, name, value] = /^([\w-]+):\s*(.+)$/.exec(line) ?? []
    if (name === undefined || value === undefined) throw new Error(USAGE)
    return [name.toLowerCase(), value] as const
  })
  return { json, fix, gateway, headers: Object.fromEntries(headers) }
}

function print({ findings, lookedAt }: Diagnosis): void {
  const width = Math.max(...findings.map(({ subject }) => subject.length))
  for (const finding of findings)
    console.log(`${MARKS[finding.severity]} ${finding.subject.padEnd(width)}  ${sentenceOf(finding)}`)
  const place = lookedAt.join(', ')
  console.log(findings.length === 0 ? `Nothing is wrong. Looked at: ${place}.` : `\nLooked at: ${place}.`)
}
