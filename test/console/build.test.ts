import { expect, test } from 'bun:test'
import { stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { buildConsole } from '../../src/console/build.ts'
import { repository } from '../support/repository.ts'

const MOST_BYTES = 132 * 1024
const BUILT = ['index.html', 'icon.svg', 'page.css', 'page.js'].map((name) =>
  join(repository, 'src/console/dist', name),
)

test('the page of the console is small', async () => {
  const sizes = await Promise.all(BUILT.map(async (path) => Bun.gzipSync(await Bun.file(path).bytes()).length))
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(MOST_BYTES)
})

test('the page is built again when it is older than its sources, and only then', async () => {
  expect(await buildConsole()).toBeFalse()
  await utimes(BUILT[0] ?? '', new Date(0), new Date(0))
  // Another test run may build it first.
  await buildConsole()
  for (const path of BUILT) expect((await stat(path)).mtimeMs).toBeGreaterThan(0)
  expect(await buildConsole()).toBeFalse()
}, 30_000)
