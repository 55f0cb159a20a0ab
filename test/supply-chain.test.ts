import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { repository } from './support/repository.ts'

/** SPDX ids of licences that ask for no more than to be named, and leave the service's own code alone. */
const ALLOWED = new Set(['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', 'CC0-1.0', 'ISC'])
for (const id of ['MIT', 'Python-2.0', 'Unlicense']) ALLOWED.add(id)

/** What the rule above would refuse, and why it may stay. */
const EXCEPTIONS: { name: RegExp; license: string | undefined; why: string }[] = [
  // The Windows and WebAssembly builds hold libvips in one package, with both licences.
  { name: /^@img\/sharp-(libvips-|wasm32|win32-)/, license: 'LGPL-3.0-or-later', why: 'libvips, a shared library' },
  { name: /^@img\/sharp-/, license: 'Apache-2.0 AND LGPL-3.0-or-later', why: 'libvips, a shared library' },
  { name: /^libheif-js$/, license: 'LGPL-3.0', why: 'a package of its own, which can be replaced; named in NOTICE' },
  { name: /^axe-core$/, license: 'MPL-2.0', why: 'copyleft for its own files, used as they are, in tests only' },
  { name: /^combine-errors$/, license: undefined, why: 'MIT says its readme; tus-js-client needs it' },
]

test('every package that is installed has a licence that is allowed', async () => {
  const packages = await installed()
  const refused = packages.filter(
    ({ name, license }) =>
      !isAllowed(license) &&
      !EXCEPTIONS.some((exception) => exception.name.test(name) && exception.license === license),
  )
  expect(refused).toEqual([])
  // Nothing would be refused either if the walk found nothing.
  for (const name of ['hono', 'pino', 'typescript', '@img/colour', 'sonic-boom'])
    expect(packages.map((found) => found.name)).toContain(name)
})

test.each([
  ['MIT', true],
  ['(MIT OR GPL-3.0-only)', true],
  ['Apache-2.0 AND MIT', true],
  ['Apache-2.0 AND GPL-3.0-only', false],
  ['AGPL-3.0-only', false],
  ['SEE LICENSE IN LICENSE.md', false],
  [undefined, false],
])('the licence %p is allowed: %p', (license, allowed) => {
  expect(isAllowed(license)).toBe(allowed)
})

test.each(['.', 'src/client', 'src/console'])(
  'every dependency of %s is named by its exact version',
  async (folder) => {
    const { dependencies, devDependencies } = await Bun.file(join(repository, folder, 'package.json')).json()
    const named = Object.entries({ ...dependencies, ...devDependencies })
    expect(named.length).toBeGreaterThan(0)
    for (const [name, version] of named) {
      const exact = name.startsWith('@media-service/') ? /^workspace:\*$/ : /^\d+\.\d+\.\d+$/
      expect([name, version]).toEqual([name, expect.stringMatching(exact)])
    }
  },
)

test('a package that two of ours name has one version', async () => {
  const versions = new Map<string, Set<string>>()
  for (const folder of ['.', 'src/client', 'src/console']) {
    const { dependencies, devDependencies } = await Bun.file(join(repository, folder, 'package.json')).json()
    for (const [name, version] of Object.entries<string>({ ...dependencies, ...devDependencies }))
      versions.set(name, (versions.get(name) ?? new Set()).add(version))
  }
  expect(versions.get('@uppy/core')?.size).toBe(1)
  expect([...versions].filter(([, found]) => found.size > 1)).toEqual([])
})

test('every base image is named by the tag of one version', async () => {
  const dockerfile = await Bun.file(join(repository, 'Dockerfile')).text()
  const compose = await Bun.file(join(repository, 'docker-compose.yml')).text()
  const stages = [...dockerfile.matchAll(/^FROM\s+\S+\s+AS\s+(\S+)/gim)].map(([, name]) => name)
  const images = [...dockerfile.matchAll(/^FROM\s+(\S+)/gim), ...compose.matchAll(/^\s*image:\s*(\S+)/gm)]
    .map(([, image = '']) => image)
    .filter((image) => !stages.includes(image) && image !== OWN_IMAGE)
  expect(images.length).toBeGreaterThan(4)
  for (const image of images) expect(image).toMatch(/:(v?\d+\.\d+[\w.-]*|RELEASE\.\d{4}-[\w-]+)$/)
})

const OWN_IMAGE = 'media-service'

test('no dependency, file or export is there without use', () => {
  const knip = join(repository, 'node_modules', 'knip', 'bin', 'knip.js')
  const found = ['dependencies', 'unlisted', 'unresolved', 'binaries', 'files', 'exports'].join()
  const command = [process.execPath, '--bun', knip, '--no-progress', '--include', found]
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd: repository })
  expect(`${stdout}${stderr}`).toBe('')
  expect(exitCode).toBe(0)
}, 30_000)

type Installed = { name: string; license: string | undefined }

/** Direct and transitive, for production and development, as they lie there. */
async function installed(): Promise<Installed[]> {
  const found: Installed[] = []
  const glob = new Bun.Glob('node_modules/**/package.json')
  for await (const file of glob.scan({ cwd: repository, dot: true })) {
    // Packages hold other files of that name.
    if (!/(^|\/)node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(file)) continue
    const { name, license } = await Bun.file(join(repository, file)).json()
    if (name !== undefined) found.push({ name, license })
  }
  return found
}

/** An SPDX expression without nesting: one of what OR joins is enough, all of what AND joins have to be. */
function isAllowed(license: string | undefined): boolean {
  const alternatives = license?.replace(/^\((.*)\)$/, '$1').split(' OR ') ?? []
  return alternatives.some((alternative) => alternative.split(' AND ').every((id) => ALLOWED.has(id)))
}
