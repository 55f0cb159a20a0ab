import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { inCache } from '../process/cache.ts'

// What the base image of the Dockerfile is made of, without the files that Debian's slim images leave out.
const OPTIONS = [
  '--variant=minbase',
  '--include=ca-certificates',
  ...['doc', 'info', 'locale', 'man'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
  '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/debconf/*-old',
]
const RELEASE = 'trixie'

/** Debian as a tar file, for base.Dockerfile. */
export const DEBIAN = inCache(`${RELEASE}-${process.arch}-${Bun.hash(OPTIONS.join()).toString(36)}.tar`)

export function findDebian(): string | null {
  return existsSync(DEBIAN) ? DEBIAN : null
}

/** Gets it, with Debian's own tool. */
export async function getDebian(run: (command: string[]) => Promise<void>): Promise<void> {
  await mkdir(dirname(DEBIAN), { recursive: true })
  // Under its name only once it is whole.
  const unfinished = `${DEBIAN}.${process.pid}`
  await run(['mmdebstrap', '--quiet', ...OPTIONS, '--format=tar', RELEASE, unfinished])
  await rename(unfinished, DEBIAN)
}
