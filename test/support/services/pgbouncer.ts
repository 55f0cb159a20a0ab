import { existsSync } from 'node:fs'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { $, semver } from 'bun'
import postgres from 'postgres'
import { inCi } from '../process/ci.ts'
import { freePort } from '../process/port.ts'
import { triedPooler } from '../tried.ts'
import { type ServiceControl, startNative } from './native.ts'
import { newerIn } from './newer.ts'

// Where Debian's package puts it, which is not on everybody's PATH.
const DEBIAN = '/usr/sbin/pgbouncer'

export function findPgBouncer(): string | null {
  return Bun.which('pgbouncer') ?? (existsSync(DEBIAN) ? DEBIAN : null)
}

/** Whether there is PgBouncer, for `describe.skipIf(!havePgBouncer())`: without, skipped at home, loudly, and failed in CI. */
export function havePgBouncer(): boolean {
  if (findPgBouncer() !== null) return true
  const missing = 'There is no PgBouncer: install the Debian package pgbouncer, as `bun test/setup.ts` does.'
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING every test that needs PgBouncer. ${missing}\n`)
  return false
}

/** Whether a version prepares a client's statements on whichever session a transaction gets (from 1.21 on). */
export async function pgBouncerCarries(program = findPgBouncer()): Promise<boolean> {
  const told = await $`${program} --version`.text()
  return semver.satisfies(/PgBouncer ([\d.]+)/.exec(told)?.[1] ?? '', '>=1.21')
}

/**
 * Starts PgBouncer in front of the server of a database; `url` is that of the same database through it.
 * @param newer that of a later Debian, instead of this machine's
 */
export async function startPgBouncer(
  folder: string,
  databaseUrl: string,
  mode: 'transaction' | 'session',
  { newer = false } = {},
): Promise<ServiceControl> {
  const binary = newer ? await newerIn(folder, 'pgbouncer') : findPgBouncer()
  if (binary === null) throw new Error('PgBouncer is not installed')
  const own = join(folder, `pgbouncer-${mode}`)
  await mkdir(own)
  const port = await freePort()
  const server = new URL(databaseUrl)
  const config = join(own, 'pgbouncer.ini')
  await Bun.write(
    config,
    `[databases]
* = host=${server.hostname} port=${server.port} user=${server.username} password=${server.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 20
`,
  )
  // It refuses to run as root, so somebody else has to read this.
  const user = process.getuid?.() === 0 ? 'postgres' : undefined
  await chmod(folder, 0o755)
  const url = new URL(databaseUrl)
  url.port = String(port)
  triedPooler(`PgBouncer${(await pgBouncerCarries(binary)) ? ' 1.21 or later' : ''}`, url.href, [binary, '--version'])
  return startNative({
    name: 'PgBouncer',
    url: url.href,
    command: [binary, config],
    folder: own,
    ...(user && { user }),
    stopSignal: 'SIGTERM',
    answers: async () => {
      const sql = postgres(url.href, { max: 1, onnotice: () => {} })
      await sql`SELECT 1`.finally(() => sql.end({ timeout: 1 }))
    },
  })
}
