import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { freePort } from '../process/port.ts'
import { runToEnd, tied } from '../process/process.ts'
import { type ServiceControl, startNative } from './native.ts'

/** Of the superuser `postgres`; one that can be recognised where it should not be. */
export const POSTGRES_PASSWORD = 'the-password-of-the-test-postgres'

/**
 * Starts Postgres with its data in `folder`/postgres, on the loopback address. Nothing waits for the disk, unless it is to be `durable`: what is
 * committed has been written to the kernel, so it outlives a killed Postgres, and only a power cut could lose it.
 */
export async function startPostgres(folder: string, { durable = false } = {}): Promise<ServiceControl> {
  const binaries = findPostgres()
  if (!binaries) throw new Error('Postgres is not installed')
  const own = join(folder, 'postgres')
  const data = join(own, 'data')
  const user = await makeFolder(own)
  const port = await freePort()
  const url = postgresUrl(port)
  await initialise(binaries, data, user)
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
