import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { cp, readdir, rm } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { createDataDir } from './support/process/acceptance.ts'
import { runToEnd } from './support/process/process.ts'
import { startService } from './support/process/service.ts'
import { repository } from './support/repository.ts'
import { createFolder, type Folder } from './support/services/folder.ts'

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
  'what lies installed or built here stays here: %s',
  async (path) => {
    expect(await isLetThrough(path)).toBeFalse()
  },
)

describe('the last stage', () => {
  let folder: Folder
  beforeAll(async () => {
    folder = await createFolder()
    await build(folder.path, (await read('Dockerfile')).split(/^FROM .*$/m).at(-1) ?? '')
  }, 300_000)
  afterAll(() => folder?.remove(), 60_000)

  test('has the packages that the service runs with, and not those that the page is built from', async () => {
    const packages = await packagesIn(join(folder.path, 'node_modules'))
    const platform = /^@img\/sharp-/
    expect(packages.filter((name) => !platform.test(name))).toEqual(
      (await read('test/image-packages.txt')).trim().split('\n'),
    )
    expect(packages.filter((name) => platform.test(name)).length).toBeGreaterThan(0)
    expect(packages.filter((name) => /^(rolldown|preact|@uppy\/|@rolldown\/|@media-service\/)/.test(name))).toEqual([])
  })

  test('starts with them, and serves the page that was built', async () => {
    const dataDir = await createDataDir()
    const env = { DATA_DIR: dataDir.path, NODE_ENV: 'development' }
    const service = await startService({ runtime: 'bun', env, cwd: folder.path, code: folder.path })
    try {
      for (const path of ['/console', '/console/page.js', '/console/page.css', '/docs/swagger-ui.css'])
        expect([path, (await fetch(service.baseUrl + path)).status]).toEqual([path, 200])
      await rm(join(folder.path, 'src/console/dist/icon.svg'))
      const missing = await fetch(`${service.baseUrl}/console/icon.svg`)
      expect([missing.status, (await missing.json()).detail]).toEqual([404, expect.stringContaining('build:console')])
    } finally {
      await service.stop()
      await dataDir.remove()
    }
  }, 120_000)
})

/** Does in a folder what a stage of the Dockerfile does: copies as .dockerignore lets it, and runs its commands. */
async function build(folder: string, stage: string): Promise<void> {
  const instructions = stage.replaceAll('\\\n', ' ').matchAll(/^(COPY|RUN) (.+)$/gm)
  for (const [, kind, words = ''] of instructions) {
    const options = /^(--\S+\s+)*/.exec(words)?.[0] ?? ''
    const rest = words.slice(options.length).trim()
    if (kind === 'RUN') {
      const { PATH = '', HOME = '' } = process.env
      await runToEnd(['sh', '-c', rest], { cwd: folder, env: { HOME, PATH: `${dirname(process.execPath)}:${PATH}` } })
      continue
    }
    const paths = rest.split(/\s+/).map((path) => path.replace('/home/bun/app/', './'))
    const target = paths.pop() ?? ''
    for (const source of paths) {
      const into = target.endsWith('/') ? join(folder, target, basename(source)) : join(folder, target)
      const own = options.includes('--from')
      await cp(join(repository, source), into, {
        recursive: true,
        filter: async (path) => own || (await isLetThrough(relative(repository, path))),
      })
    }
  }
}

async function packagesIn(modules: string): Promise<string[]> {
  const names: string[] = []
  for (const name of await readdir(modules))
    if (name.startsWith('@')) for (const one of await readdir(join(modules, name))) names.push(`${name}/${one}`)
    else if (!name.startsWith('.')) names.push(name)
  return names.sort()
}

test('what the packages need before they are installed is copied before', async () => {
  const { patchedDependencies = {} }: { patchedDependencies?: Record<string, string> } = JSON.parse(
    await read('package.json'),
  )
  const sources = await sourcesOf('Dockerfile')
  for (const patch of Object.values(patchedDependencies)) expect(sources).toContain(patch.split('/')[0] ?? '')
})
