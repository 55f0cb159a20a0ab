/**
 * `bun run bench`: what the service takes for each request, beside the same API built the usual way (`reference/`) and
 * the store alone. CPU seconds are the main figure: requests a second move with whatever else the machine does.
 *
 *   --quick        one short round
 *   --rounds 3     in each of them every contestant has a turn, starting fresh
 *   --seconds 8    for each operation
 *   --only ours    who takes part: ours, limited, reference, floor
 *   --with FILE    rounds of earlier runs, to which these are added: for a machine that is quiet for minutes only
 *
 * With everybody and three rounds it writes RESULTS.md and the table of the README. Fails when a goal (`goals.ts`) is
 * missed and, where it has one, its floor. Two versions of the service are compared by `ab.ts`, in turns. Needs Linux and Go.
 */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { RedisClient } from 'bun'
import postgres from 'postgres'
import { createFolder } from '../test/support/services/folder.ts'
import { type Services, settingsOf, startServices } from '../test/support/services/services.ts'
import { names, open } from './contestants.ts'
import { writeInputs } from './inputs.ts'
import { openLoad } from './load.ts'
import reference from './reference/package.json'
import { NODE_VERSION } from './reference.ts'
import { type Report, type Round, report } from './report.ts'
import { visit } from './visit.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '8' },
    only: { type: 'string', multiple: true, default: [...names] },
    with: { type: 'string' },
  },
})
const rounds = values.quick ? 1 : Number(values.rounds)
const seconds = values.quick ? 3 : Number(values.seconds)
const chosen = names.filter((name) => values.only.includes(name))
const README = join(import.meta.dirname, '..', 'README.md')
const RESULTS = join(import.meta.dirname, 'RESULTS.md')

// As in production: what the database has committed is on disk.
const services = await startServices({}, { durable: true })
// For what takes the services from the environment.
Object.assign(process.env, settingsOf(services))
try {
  const earlier = await readEarlier()
  const all = [...earlier, ...(await compete(services, earlier.length))]
  if (values.with !== undefined) await writeFile(values.with, JSON.stringify(all))
  const result = report(all)
  console.log(`\n${result.table}\n\n${result.goals}\n\n${result.details}`)
  if (all.length >= 3 && chosen.length === names.length) await writeDown(result, services, all.length)
  process.exitCode = result.met ? 0 : 1
} finally {
  await services.stop()
}

async function readEarlier(): Promise<Round[]> {
  return values.with !== undefined && existsSync(values.with) ? JSON.parse(await readFile(values.with, 'utf8')) : []
}

async function compete(services: Services, earlier: number): Promise<Round[]> {
  const folder = await createFolder()
  const done: Round[] = []
  try {
    const bench = {
      services,
      load: await openLoad(),
      inputs: await writeInputs(folder.path),
      folder: folder.path,
      seconds,
    }
    for (let i = earlier; i < earlier + rounds; i++) {
      console.log(`bench: round ${i + 1} of ${earlier + rounds}`)
      const round: Round = {}
      // Nobody is always the first, when the machine may be in another mood.
      for (const name of [...chosen.slice(i % chosen.length), ...chosen.slice(0, i % chosen.length)]) {
        const contestant = await open[name](services, folder.path)
        try {
          round[name] = await visit(contestant, bench)
        } finally {
          await contestant.close()
        }
      }
      done.push(round)
    }
  } finally {
    await folder.remove()
  }
  return done
}

async function writeDown({ table, goals, details }: Report, services: Services, rounds: number): Promise<void> {
  const results = `# Results of \`bun run bench\`

${new Date().toISOString().slice(0, 10)}, ${rounds} rounds, ${seconds} s for each operation. ${await surroundings(services)}

Medians of the rounds; in parentheses the best round. The service runs as it ships, with validation, outbox, log and
metrics; rate limits and quotas are off but where it says otherwise. CPU time includes that of child processes. A
\`complete\` is held against an upload of the reference, a list and a rendition against its get. What upkeep does a
minute later, such as placeholders of pictures, is in no figure.

${table}

## Goals

${goals}

## Everything

${details}
`
  await writeFile(RESULTS, results)
  const readme = await readFile(README, 'utf8')
  await writeFile(
    README,
    readme.replace(/(<!-- bench -->\n)[\s\S]*(<!-- \/bench -->)/, (_, from, to) => `${from}${table}\n${to}`),
  )
}

/** Machine and versions. */
async function surroundings({ databaseUrl, redisUrl }: Services): Promise<string> {
  const sql = postgres(databaseUrl, { max: 1 })
  const [database] = await sql<{ server_version: string }[]>`SHOW server_version`
  await sql.end()
  const redis = new RedisClient(redisUrl)
  const version = /^redis_version:(\S+)/m.exec(String(await redis.send('INFO', ['server'])))?.[1]
  redis.close()
  const { express, multer, sharp } = reference.dependencies
  return [
    `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${process.platform} ${process.arch}, everything on one machine.`,
    `Bun ${Bun.version}; for the reference Node ${NODE_VERSION}, Express ${express}, Multer ${multer}, sharp ${sharp};`,
    `Postgres ${database?.server_version.split(' ')[0]}, Redis ${version}, MinIO.`,
  ].join(' ')
}
