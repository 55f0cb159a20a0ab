import { existsSync, realpathSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import postgres from 'postgres'
import { freePort } from '../process/port.ts'
import { runToEnd, tied } from '../process/process.ts'
import type { Certificate } from './certificates.ts'
import { type ServiceControl, startNative } from './native.ts'

/** Of the superuser `postgres`; one that can be recognised where it should not be. */
export const POSTGRES_PASSWORD = 'the-password-of-the-test-postgres'

/**
 * Starts Postgres with its data in `folder`/postgres, on the loopback address. Nothing waits for the disk, unless it is to be `durable`: what is
 * committed has been written to the kernel, so it outlives a killed Postgres, and only a power cut could lose it.
 */
export async function startPostgres(
  folder: string,
  { durable = false, tls }: { durable?: boolean; tls?: Certificate } = {},
): Promise<ServiceControl> {
  const binaries = findPostgres()
  if (!binaries) throw new Error('Postgres is not installed')
  const own = join(folder, 'postgres')
  const data = join(own, 'data')
  const user = await makeFolder(own)
  await initialise(binaries, data, user)
  return serve({ binaries, own, user, durable, settings: tls ? await tlsSettings(own, tls, user) : [] })
}

/** Starts a copy of a running Postgres that follows it, in `folder`/standby, until it is promoted. */
export async function startStandby(folder: string, primaryUrl: string): Promise<ServiceControl> {
  const binaries = findPostgres()
  if (!binaries) throw new Error('Postgres is not installed')
  const own = join(folder, 'standby')
  const user = await makeFolder(own)
  // Where only some programs are linked into a folder of PATH, the others are beside the real ones.
  const copy = [
    join(realpathSync(join(binaries, 'postgres')), '../pg_basebackup'),
    '-D',
    join(own, 'data'),
    '-d',
    primaryUrl,
    '-R',
    '-X',
    'stream',
  ]
  await runToEnd(tied([...copy, '--checkpoint=fast', '--no-sync'], user ? { user } : {}), { cwd: own })
  return serve({ binaries, own, user, durable: false, settings: [] })
}

type Serving = { binaries: string; own: string; user: string | undefined; durable: boolean; settings: string[] }

async function serve({ binaries, own, user, durable, settings }: Serving): Promise<ServiceControl> {
  const data = join(own, 'data')
  const port = await freePort()
  const url = postgresUrl(port)
  return startNative({
    name: 'Postgres',
    url,
    command: [
      join(binaries, 'postgres'),
      ...['-D', data],
      ...['-c', 'listen_addresses=127.0.0.1'],
      ...['-c', `port=${port}`],
      ...['-c', `unix_socket_directories=${own}`],
      ...['-c', 'max_connections=200'],
      ...settings,
      ...(durable ? [] : ['-c', 'fsync=off', '-c', 'full_page_writes=off']),
      // Keeps its shared memory in the data folder instead of /dev/shm, where a SIGKILL would leave it.
      ...['-c', 'dynamic_shared_memory_type=mmap'],
    ],
    folder: own,
    ...(user && { user }),
    stopSignal: 'SIGINT',
    deathSignal: 'QUIT',
    answers: () => postgresAnswers(url),
    afterKill: () => removeSharedMemory(data),
  })
}

/** The key has to be its own user's alone. */
async function tlsSettings(own: string, { cert, key }: Certificate, user: string | undefined): Promise<string[]> {
  const owned = user ? ['-o', user, '-g', user] : []
  await runToEnd(['install', '-m', '600', ...owned, cert, key, own])
  const files = [`ssl_cert_file=${join(own, basename(cert))}`, `ssl_key_file=${join(own, basename(key))}`]
  return ['ssl=on', ...files].flatMap((setting) => ['-c', setting])
}

export function postgresUrl(port: number): string {
  return `postgres://postgres:${POSTGRES_PASSWORD}@127.0.0.1:${port}/postgres`
}

/** Rejects until Postgres answers a query; also while it recovers after a crash. */
export async function postgresAnswers(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 2 })
  try {
    await sql`select 1`
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** The folder with initdb and postgres: from PATH, else Debian's newest version, which is not on PATH. */
export function findPostgres(): string | undefined {
  const onPath = Bun.which('initdb')
  if (onPath && Bun.which('postgres')) return join(onPath, '..')
  if (!existsSync('/usr/lib/postgresql')) return undefined
  const newest = [...new Bun.Glob('*/bin/initdb').scanSync('/usr/lib/postgresql')]
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
    .at(-1)
  return newest && join('/usr/lib/postgresql', newest, '..')
}

/** Returns the user to run as: initdb and postgres refuse to run as root. */
async function makeFolder(path: string): Promise<string | undefined> {
  if (process.getuid?.() !== 0) {
    await mkdir(path)
    return undefined
  }
  await runToEnd(['install', '-d', '-m', '700', '-o', 'postgres', '-g', 'postgres', path])
  return 'postgres'
}

async function initialise(binaries: string, data: string, user: string | undefined): Promise<void> {
  const passwordFile = join(data, '..', 'password')
  await writeFile(passwordFile, POSTGRES_PASSWORD)
  // --no-sync is about the files of the fresh cluster only, not about what is committed to it later.
  const initdb = [join(binaries, 'initdb'), '-D', data, '-U', 'postgres', '-E', 'UTF8', '--no-locale']
  const login = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`]
  await runToEnd(tied([...initdb, ...login, '--no-sync'], user ? { user } : {}), { cwd: join(data, '..') })
}

/** Line 7 of postmaster.pid holds key and id of the System V segment that outlives a killed Postgres. */
async function removeSharedMemory(data: string): Promise<void> {
  const line = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')[6]
  const id = line?.trim().split(/\s+/)[1]
  if (id) await runToEnd(['ipcrm', '-m', id])
}
