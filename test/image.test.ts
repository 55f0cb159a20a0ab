import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { prune } from '../deploy/prune-packages.ts'
import { repository } from './support/repository.ts'
import { createFolder } from './support/services/folder.ts'

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

test.each(['node_modules', 'src/console/node_modules/x', 'src/console/dist/page.js', 'src/client/dist'])(
  'installed and built files stay here: %s',
  async (path) => {
    expect(await isLetThrough(path)).toBeFalse()
  },
)

test('the version on the label is that of the package', async () => {
  const { version } = await Bun.file(join(repository, 'package.json')).json()
  expect(await read('Dockerfile')).toContain(`\nARG VERSION=${version}\n`)
})

describe('the packages of the image', () => {
  test.each([
    ['hono/dist/index.js', true],
    ['hono/package.json', true],
    ['hono/LICENSE', true],
    ['hono/license.md', true],
    ['pino/docs/api.md', false],
    ['hono/dist/index.js.map', false],
    ['hono/dist/index.d.ts', false],
    ['zod/src/index.ts', false],
    ['pino/test/basic.js', false],
    ['pino/node_modules/a/test/b.js', false],
    // A package may be called so itself.
    ['docs/index.js', true],
    ['@tus/test/index.js', true],
    ['@electric-sql/pglite/dist/index.js', false],
    ['@tus/server/node_modules/ioredis/index.js', false],
    ['ioredis/index.js', true],
    ['swagger-ui-dist/swagger-ui-bundle.js', true],
    ['swagger-ui-dist/swagger-ui-es-bundle.js', false],
  ])('have %s: %p', async (file, stays) => {
    const { path, remove } = await createFolder()
    try {
      const modules = join(path, 'node_modules')
      await Bun.write(join(modules, file), 'x')
      await prune(modules)
      expect(existsSync(join(modules, file))).toBe(stays)
    } finally {
      await remove()
    }
  })
})

test('patches that packages need are copied before these are installed', async () => {
  const { patchedDependencies = {} }: { patchedDependencies?: Record<string, string> } = JSON.parse(
    await read('package.json'),
  )
  const sources = await sourcesOf('Dockerfile')
  for (const patch of Object.values(patchedDependencies)) expect(sources).toContain(patch.split('/')[0] ?? '')
})
