/**
 * Notes what tests ran on, from which docs/infrastructure.md is made: with TRIED_FOLDER set, one line of JSON for each
 * thing, once for each process.
 */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findGoProgram } from './process/go.ts'

export type Runtime = 'Bun' | 'Deno'
/** A service that ran: as it said itself when it had started. */
export type SetUp = {
  store: string
  database: string
  redis: string
  gateway: string
  identity: string
  runtime: Runtime
}
export type Kind = 'store' | 'database' | 'Redis' | 'gateway' | 'identity' | 'runtime'
export type Part = { kind: Kind; name: string; version: string | null; runtime: Runtime }
export type Tried = { setUps: SetUp[]; parts: Part[] }

/** A part that a test has started, or was given, and now runs on. @param command prints its version */
export function triedPart(kind: Kind, name: string, command?: string[], runtime: Runtime = ownRuntime()): void {
  if (folder() !== undefined) note({ kind, name, version: command ? versionOf(command) : null, runtime })
}

/** A program that was built with Go from a module of this version. */
export function triedGoProgram(kind: Kind, name: string, program: string): void {
  triedPart(kind, name, ['go', 'version', '-m', findGoProgram(program) ?? program])
}

/** The port of a pooler, behind which the database of a service then is. */
export function triedPooler(name: string, url: string, command: string[]): void {
  triedPart('database', name, command)
  poolers.set(new URL(url).port, name)
}
const poolers = new Map<string, string>()

/** A gateway, and the addresses of the services behind it. */
export function triedGateway(name: string, command: string[], services: string[]): void {
  triedPart('gateway', name, command)
  for (const url of services) gateways.set(portOf(url), [...(gateways.get(portOf(url)) ?? []), name])
}
const gateways = new Map<string, string[]>()

/** A service at this address with these settings, of which this is the log. */
export function triedService(url: string, log: string, env: Record<string, string | undefined>): void {
  if (folder() === undefined) return
  const line = log.split('\n').find((text) => text.includes('"msg":"service: started"'))
  if (line === undefined) return
  const { database, storage, events, runtime: told }: Started = JSON.parse(line)
  const [program = '', version = null] = told.split(' ')
  const runtime = program === 'deno' ? 'Deno' : 'Bun'
  const part = (kind: Kind, name: string, its: string | null | undefined) =>
    note({ kind, name, version: versionIn(its ?? ''), runtime })
  const pooler = env.DATABASE_URL && poolers.get(portOf(env.DATABASE_URL))
  const names = {
    store: storage.name === 'disk' ? 'files in `DATA_DIR`' : (STORES[storage.server ?? ''] ?? 'an S3 store'),
    database: database.name === 'pglite' ? 'PGlite' : 'Postgres',
    redis: events.name === 'memory' ? 'none' : events.mode ? `Redis, ${events.mode}` : 'Redis, away at start',
  }
  const identities = identitiesIn(env)
  const asked: Pick<SetUp, 'identity' | 'runtime'> = { identity: identities.join(' or '), runtime }
  for (const gateway of new Set(gateways.get(portOf(url)) ?? ['none']))
    note({ ...names, database: pooler ? `${names.database} behind ${pooler}` : names.database, gateway, ...asked })
  part('database', names.database, database.version)
  part('store', names.store, null)
  if (events.version) part('Redis', names.redis, events.version)
  part('runtime', runtime, version)
  for (const identity of identities) part('identity', identity, null)
}

type Started = {
  database: { name: string; version: string }
  storage: { name: string; server?: string | null }
  events: { name: string; mode?: string; version?: string }
  runtime: string
}

const STORES: Record<string, string> = { MinIO: 'MinIO', VERSITYGW: 'versitygw' }

function identitiesIn(env: Record<string, string | undefined>): string[] {
  const { AUTH_JWT_SECRET, AUTH_JWKS_URL, AUTH_ISSUER, GATEWAY_SECRET } = env
  const found = [
    ...(AUTH_JWT_SECRET ? ['`AUTH_JWT_SECRET`'] : []),
    ...(AUTH_JWKS_URL ? ['`AUTH_JWKS_URL`'] : []),
    ...(GATEWAY_SECRET ? ['`GATEWAY_SECRET`'] : []),
  ]
  if (found.length > 0) return found
  return [AUTH_ISSUER ? '`AUTH_ISSUER` alone' : 'the development token']
}

/** What all processes of a run have noted. */
export function readTried(from: string): Tried {
  const lines = readdirSync(from).flatMap((name) => readFileSync(join(from, name), 'utf8').trim().split('\n'))
  const all: (SetUp | Part)[] = [...new Set(lines)].filter((line) => line !== '').map((line) => JSON.parse(line))
  const parts = all.flatMap((each) => ('kind' in each ? each : []))
  return { parts, setUps: all.flatMap((each) => ('kind' in each ? [] : each)) }
}

const noted = new Set<string>()

function note(each: SetUp | Part): void {
  const [line, into] = [JSON.stringify(each), folder()]
  if (into === undefined || noted.has(line)) return
  noted.add(line)
  appendFileSync(join(into, `${process.pid}.jsonl`), `${line}\n`)
}

function folder(): string | undefined {
  return process.env.TRIED_FOLDER
}

/** Of the services that tests start in this stage. */
function ownRuntime(): Runtime {
  return process.env.ACCEPTANCE_RUNTIME === 'deno' ? 'Deno' : 'Bun'
}

function versionOf([program = '', ...args]: string[]): string | null {
  if (!Bun.which(program)) return null
  const { stdout, stderr } = Bun.spawnSync([program, ...args])
  const told = `${stdout}${stderr}`
  // Of a program that was built with Go, the line of its own module.
  const own = /^\s*mod\s.*$/m.exec(told)?.[0] ?? told
  const [, year, month, day] = /\sv0\.0\.0-(\d{4})(\d\d)(\d\d)\d{6}-/.exec(own) ?? []
  return year ? `${year}-${month}-${day}` : versionIn(own)
}

/** Without what a distribution has appended. */
function versionIn(text: string): string | null {
  return /\d+\.\d+(?:\.\d+)?/.exec(text)?.[0] ?? null
}

function portOf(url: string): string {
  return URL.canParse(url) ? new URL(url).port : ''
}
