import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { $ } from 'bun'
import { inCache } from '../process/cache.ts'
import { inCi } from '../process/ci.ts'

// Debian 12 has PgBouncer 1.18 and no Valkey. These are Debian's own packages of a later release: PgBouncer 1.24, which
// carries prepared statements, and Valkey 8.1.
const RELEASE = 'trixie'
const PROGRAMS = { pgbouncer: 'usr/sbin/pgbouncer', 'valkey-server': 'usr/bin/valkey-server' }
type Program = keyof typeof PROGRAMS

/** Their binaries, their libraries and its own loader, so that they run on any Linux. */
export const NEWER = inCache(
  `${RELEASE}-programs-${process.arch}-${Bun.hash(Object.keys(PROGRAMS).join()).toString(36)}`,
)

/** A command that starts the program of the later release; undefined where it was not set up. */
export function findNewer(program: Program): string | undefined {
  const path = join(NEWER, program)
  return existsSync(path) ? path : undefined
}

/** For `test.skipIf(!haveNewer(…))`: skipped at home, loudly, and failed in CI. */
export function haveNewer(program: Program): boolean {
  if (findNewer(program) !== undefined) return true
  const missing = `There is no ${program} of Debian ${RELEASE}: \`bun test/setup.ts\` gets it, as root.`
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING tests that need it. ${missing}\n`)
  return false
}

/** Copies the programs to where a user that cannot read this one's cache can, too; resolves with the command. */
export async function newerIn(folder: string, program: Program): Promise<string> {
  const own = join(folder, 'newer')
  await cp(NEWER, own, { recursive: true, verbatimSymlinks: true })
  return join(own, program)
}

/** Gets them, with Debian's own tool. */
export async function getNewer(run: (command: string[]) => Promise<void>): Promise<void> {
  await mkdir(dirname(NEWER), { recursive: true })
  const [root, unfinished] = [`${NEWER}.${process.pid}.root`, `${NEWER}.${process.pid}`]
  const include = `--include=${Object.keys(PROGRAMS).join()}`
  await run(['mmdebstrap', '--quiet', '--variant=extract', include, '--format=directory', RELEASE, root])
  const [loader] = await Array.fromAsync(new Bun.Glob('usr/lib/*-linux-gnu/ld-linux-*.so.*').scan(root))
  if (loader === undefined) throw new Error(`Debian ${RELEASE} has no loader here`)
  const libraries = join(root, dirname(loader))
  await mkdir(join(unfinished, 'lib'), { recursive: true })
  await cp(join(root, loader), join(unfinished, 'lib', 'loader'))
  for (const [name, path] of Object.entries(PROGRAMS)) {
    const listed = await $`${join(root, loader)} --library-path ${libraries} --list ${join(root, path)}`.text()
    for (const [, found = ''] of listed.matchAll(/=> (\/\S+)/g))
      if (found.startsWith(libraries))
        await cp(found, join(unfinished, 'lib', found.slice(libraries.length)), { dereference: true })
    await cp(join(root, path), join(unfinished, 'lib', name), { dereference: true })
    await Bun.write(join(unfinished, name), START)
    await chmod(join(unfinished, name), 0o755)
  }
  await run(['rm', '-rf', root])
  // Under its name only once it is whole.
  await rm(NEWER, { recursive: true, force: true })
  await rename(unfinished, NEWER)
}

const START = `#!/bin/sh
lib=$(dirname "$0")/lib
exec "$lib/loader" --library-path "$lib" "$lib/$(basename "$0")" "$@"
`
