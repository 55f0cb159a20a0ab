import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './support/repository.ts'

const read = (file: string) => Bun.file(join(repository, file)).text()

/** Everything that the Dockerfile takes from here. */
async function sourcesOf(dockerfile: string): Promise<string[]> {
  const copies = (await read(dockerfile)).matchAll(/^(?:COPY|ADD) (?!--from)(.+)$/gm)
  return [...copies].flatMap(([, words = '']) => words.trim().split(/\s+/).slice(0, -1))
}

/** As the builder reads .dockerignore: the last pattern counts that matches the path, or a folder above it. */
async function isLetThrough(path: string): Promise<boolean> {
  const segments = path.replace(/^\.\//, '').split('/')
  const paths = segments.map((_, i) => segments.slice(0, i + 1).join('/'))
  const patterns = (await read('.dockerignore')).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const matching = patterns.filter((line) => paths.some((one) => new Bun.Glob(line.replace(/^!/, '')).match(one)))
  return matching.at(-1)?.startsWith('!') ?? true
}

// The builder would say so, too; but nothing had built the image for weeks.
test('everything that the image is made of reaches its builder', async () => {
  const sources = await sourcesOf('Dockerfile')
  expect(sources).toContain('package.json')
  for (const source of sources) {
    expect([source, await isLetThrough(source)]).toEqual([source, true])
    expect([source, existsSync(join(repository, source))]).toEqual([source, true])
  }
  expect(await isLetThrough('patches')).toBeFalse()
  expect(await isLetThrough('src/.env')).toBeFalse()
})

test('what the packages need before they are installed is copied before', async () => {
  const { patchedDependencies = {} }: { patchedDependencies?: Record<string, string> } = JSON.parse(
    await read('package.json'),
  )
  const sources = await sourcesOf('Dockerfile')
  for (const patch of Object.values(patchedDependencies)) expect(sources).toContain(patch.split('/')[0] ?? '')
})
