/** What benchmarks build once and use again: kept in the user's cache, for exactly what it was built from. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * A folder with what `build` puts into it, the first time for this `source` folder and this `version`.
 * @param name for people
 */
export async function built(
  name: string,
  { source, version }: { source: string; version: string },
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256').update(version)
  for (const file of (await readdir(source)).sort()) hash.update(await readFile(join(source, file)))
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'media-service-bench')
  const folder = join(cache, hash.digest('hex').slice(0, 16))
  if (existsSync(folder)) return folder
  console.log(`bench: building ${name}, once`)
  const unfinished = `${folder}.${process.pid}`
  await mkdir(unfinished, { recursive: true })
  try {
    await build(unfinished)
    await rename(unfinished, folder)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
  return folder
}
