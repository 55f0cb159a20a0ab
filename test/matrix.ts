/**
 * What does not run again on a second runtime or backend. A new test file runs on all of them until it is named here.
 * What tells the runtimes apart: how requests come in and answers go out, sockets, files, processes, signals, fetch.
 * What tells the backends apart: PGlite on one connection, the disk, events and limits in the process's own memory.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './support/repository.ts'

type Names = readonly string[]

/** Acceptance files about rules, SQL and the store's answers only, which run on Bun alone. */
export const ANY_RUNTIME: Names = [
  'auto-complete', // upkeep and statements
  'authorization', // the table of callers, states and calls is decided in the domain and in SQL
  'base-url', // how links are written
  'browsers', // headers that the routes and the store set
  'callers', // as authorization; what tokens are good for is verified by jose, in tokens, on both
  'corpus', // what the inspection says of files
  'cross-site', // headers that the routes set
  'dashboards', // names of metrics
  'docs', // examples that curl runs, of calls that other files make on Deno
  'erasure', // statements and removals
  'event-replicas', // how replicas share a Redis stream; faults/events has Deno's connections to Redis break
  'expired-uploads', // upkeep, which is a command on Bun
  'gateway', // who is believed; the peer's address, by runtime, is in rate-limits
  'holds', // statements
  'idempotency', // statements
  'identity-providers', // as callers; tokens has keys fetched on both
  'least-rights', // the key's rights in the store
  'limits', // statements, and the dates in links
  'list', // statements
  'migrate', // rights in the database
  'objects', // statements
  'other-gateways', // what gateways make of requests
  'outages', // faults/database, store and events break the same parts of a service on Deno
  'placeholder', // statements, and the decoder that renditions runs on both
  'presigned-corpus', // as corpus
  'presigned-reads', // what is asked of S3
  'public-pictures', // copies within the store, and headers
  'quotas', // statements
  'rendition-owners', // signatures, statements and the reconcile command
  'rendition-pictures', // what the decoder makes; renditions asks both runtimes for some, hostile for 32 at once
  'sign', // as presigned and multipart-upload, in other words
  'stores', // what S3 stores do
  'tus-replicas', // leases, which are statements; tus has both runtimes read its bodies
]

/** Acceptance files that have nothing to do with where rows, bytes and events are, which run on the real parts alone. */
export const ANY_BACKEND: Names = [
  'authorization', // the same statements, to which contract tests hold PGlite
  'bad-requests', // refused before there is anything to keep
  'callers', // as authorization
  'console', // its page and its token; with no settings it is embedded anywhere
  'corpus', // refused or accepted by their bytes
  'cross-site', // headers that the routes set
  'credentials', // the key of an S3 store
  'dashboards', // names of metrics
  'decoders', // processes of the pool
  'docs', // examples of calls that other files make
  'erasure', // statements and removals, to which contract tests hold PGlite and the disk
  'doctor', // looks at real parts
  'event-limits', // streams of one process; event-streams has those of both event buses
  'event-replicas', // there is one process only
  'expired-uploads', // of multipart uploads, which the disk does not take
  'gateway', // who is believed
  'holds', // statements
  'identity-providers', // as tokens
  'least-rights', // the key's rights in the store
  'limits', // statements
  'log-output', // what is written, and when
  'logs', // as log-output
  'metrics', // what is counted
  'migrate', // rights in the database
  'multipart', // how bodies are read
  'other-gateways', // what gateways make of requests
  'outages', // there is nothing outside to go away
  'placeholder', // statements
  'presigned-corpus', // as corpus
  'presigned-reads', // what is asked of S3
  'public-pictures', // promises/withdrawal has both stores; renditions and browsers serve from the disk
  'quotas', // statements
  'rendition-owners', // signatures and statements; renditions asks for links on the disk
  'rendition-pictures', // what the decoder makes
  'settings', // how they are read; data-dir has what a folder is used for
  'stopping', // signals and sockets; embedded is stopped and killed in embedded and data-dir
  'other-stores', // as stores
  'stores', // what S3 stores do
  'tokens', // who is believed
  'too-large', // how bodies are read
  'traces', // how spans are made and sent
  'typed-client', // as presigned, multipart-upload and event-streams, by another client
  'without-redis', // embedded parts have none
]

/**
 * Faults in which sockets of the runtime break. Those of statements (lost-answers among them, whose connections database
 * breaks on Deno, too), of nginx alone and of an upgrade run on Bun.
 */
export const RUNTIME_FAULTS: Names = faultFilesOf('clients', 'database', 'events', 'gateway', 'private-ca', 'store')

export const ACCEPTANCE = 'test/acceptance'

/** Paths of all acceptance files but these. */
export function acceptanceFilesBut(names: Names): string[] {
  return readdirSync(join(repository, ACCEPTANCE))
    .filter((file) => file.endsWith('.test.ts') && !names.includes(file.replace('.test.ts', '')))
    .map((file) => `./${ACCEPTANCE}/${file}`)
}

/** Whether a file uses the service that is started once for all that take it as it is. */
export function sharesService(file: string): boolean {
  return readFileSync(join(repository, file), 'utf8').includes('await usualStage()')
}

function faultFilesOf(...names: string[]): string[] {
  return names.map((name) => `./test/faults/${name}.test.ts`)
}
