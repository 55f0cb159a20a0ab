/**
 * The tables of docs/infrastructure.md, from what a test run has noted. `bun test/infrastructure.ts` writes them from the
 * last complete run, whose notes test/run.ts keeps; the run fails when the page has a row too few or too many.
 */
import { join } from 'node:path'
import { repository } from './support/repository.ts'
import { type Kind, type Part, type Runtime, readTried, type SetUp, type Tried } from './support/tried.ts'

/** What the last complete run has noted. */
export const NOTES = join(repository, 'node_modules', '.cache', 'tried')
export const PAGE = join(repository, 'docs', 'infrastructure.md')

const KINDS: Kind[] = ['store', 'database', 'Redis', 'gateway', 'identity', 'runtime']

/** What people ask for. A test that runs on one of them takes it out of the rows that say "not run". */
const ASKED_FOR: [Kind, string][] = [
  ['store', 'SeaweedFS'],
  ['store', 'Ceph'],
  ['store', 'Garage'],
  ['store', 'AWS S3'],
  ['store', 'Cloudflare R2'],
  ['store', 'Backblaze B2'],
  ['store', 'Google Cloud Storage'],
  ['database', 'PgBouncer 1.21 or later'],
  ['database', 'Pgpool-II'],
  ['database', 'managed Postgres of a cloud'],
  ['Redis', 'Valkey, standalone'],
  ['Redis', 'managed Redis of a cloud'],
  ['gateway', 'Traefik'],
  ['identity', 'a provider itself (Auth0, Clerk, Firebase, Entra, Keycloak, Cognito)'],
  ['runtime', 'Node'],
]

const PART = new RegExp(`^\\| ((?:${KINDS.join('|')}) \\| [^|]+) \\| (?!not run)([^|]*) \\| ([^|]* \\| [^|]*) \\|$`)
const MARKED = /(<!-- (set-ups|parts) -->\n)[\s\S]*?(<!-- \/\2 -->)/g

/** The page with the rows of what was tried. */
export function withTried(page: string, tried: Tried): string {
  const tables: Record<string, string[]> = { 'set-ups': setUpRows(tried.setUps), parts: partRows(tried.parts) }
  return page.replaceAll(MARKED, (_, begin: string, name: string, end: string) => {
    return `${begin}${tables[name]?.join('\n')}\n${end}`
  })
}

/** Rows that one of two pages has and the other lacks. Versions do not count: they are those of the machine. */
export function differences(page: string, other: string): { lacks: string[]; invents: string[] } {
  const [here, there] = [page, other].map((text) => rowsOf(text))
  const without = (these: Set<string> | undefined, those: Set<string> | undefined) =>
    [...(these ?? [])].filter((row) => !those?.has(row))
  return { lacks: without(there, here), invents: without(here, there) }
}

function rowsOf(page: string): Set<string> {
  const rows = [...page.matchAll(MARKED)].flatMap(([table]) =>
    table.split('\n').filter((line) => line.startsWith('| ')),
  )
  return new Set(
    rows.map((row) => row.replace(PART, (_, what: string, __, runtimes: string) => `| ${what} | ${runtimes} |`)),
  )
}

function setUpRows(setUps: SetUp[]): string[] {
  const cells = ({ store, database, redis, gateway, identity }: SetUp) => [store, database, redis, gateway, identity]
  const byParts = Map.groupBy(setUps, (setUp) => `| ${cells(setUp).join(' | ')} |`)
  const rows = [...byParts].map(([row, runs]) => `${row} ${ticks(runs)} |`).sort()
  return ['| store | database | Redis | gateway | identity | Bun | Deno |', '|---|---|---|---|---|---|---|', ...rows]
}

function partRows(parts: Part[]): string[] {
  const rows = KINDS.flatMap((kind) => {
    const byName = Map.groupBy(
      parts.filter((part) => part.kind === kind),
      ({ name }) => name,
    )
    const tried = [...byName]
      .map(([name, runs]) => `| ${kind} | ${name} | ${versionsOf(runs)} | ${ticks(runs)} |`)
      .sort()
    const others = ASKED_FOR.filter(([of, name]) => of === kind && !byName.has(name))
    return [...tried, ...others.map(([, name]) => `| ${kind} | ${name} | not run | no | no |`)]
  })
  return ['| part | what | version | Bun | Deno |', '|---|---|---|---|---|', ...rows]
}

function versionsOf(runs: Part[]): string {
  const versions = new Set(runs.flatMap(({ version }) => version ?? []))
  return [...versions].sort().join(', ') || '–'
}

function ticks(runs: { runtime: Runtime }[]): string {
  return (['Bun', 'Deno'] as const)
    .map((name) => (runs.some(({ runtime }) => runtime === name) ? 'yes' : 'no'))
    .join(' | ')
}

if (import.meta.main) {
  const page = await Bun.file(PAGE).text()
  await Bun.write(PAGE, withTried(page, readTried(process.argv[2] ?? NOTES)))
}
