/**
 * Builds the page into `dist` from these sources and its packages: `bun src/console/build.ts`. Does nothing when the
 * build is newer than its sources.
 */
import { copyFile, mkdir, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const HERE = import.meta.dirname
const REPOSITORY = join(HERE, '..', '..')
const DIST = join(HERE, 'dist')

/** Style sheets of the packages first, then ours, which override them. */
const STYLES = [
  ...['core', 'dashboard', 'webcam'].map((name) =>
    fileURLToPath(import.meta.resolve(`@uppy/${name}/css/style.min.css`)),
  ),
  ...['base', 'gallery', 'details', 'uploader'].map((name) => join(HERE, 'styles', `${name}.css`)),
]

const BUILT: Record<string, (path: string) => Promise<unknown>> = {
  'index.html': (path) => copyFile(join(HERE, 'index.html'), path),
  'icon.svg': (path) => copyFile(join(HERE, 'icon.svg'), path),
  'page.css': async (path) => writeFile(path, await joinStyles()),
  'page.js': async (path) => writeFile(path, await bundleScript()),
}

/** Resolves with whether it had to build the page. */
export async function buildConsole(): Promise<boolean> {
  // Read before the build: sources that change during it make the page stale.
  const begun = new Date()
  if ((await newestSource()) < (await oldestBuilt())) return false
  await mkdir(DIST, { recursive: true })
  for (const [name, write] of Object.entries(BUILT)) {
    const path = join(DIST, name)
    // An atomic rename, because another process may build or serve the page at the same time.
    const unfinished = `${path}.${process.pid}`
    await write(unfinished)
    await utimes(unfinished, begun, begun)
    await rename(unfinished, path)
  }
  return true
}

async function bundleScript(): Promise<string> {
  // Imported lazily, because the page is mostly up to date.
  const { rolldown } = await import('rolldown')
  const bundle = await rolldown({
    input: join(HERE, 'main.tsx'),
    platform: 'browser',
    tsconfig: false,
    resolve: { conditionNames: ['@media-service/source', 'import', 'browser', 'default'] },
    transform: {
      define: { 'process.env.NODE_ENV': '"production"' },
      jsx: { runtime: 'automatic', importSource: 'preact' },
    },
  })
  try {
    const { output } = await bundle.generate({ format: 'es', minify: true, codeSplitting: false })
    return output[0].code
  } finally {
    await bundle.close()
  }
}

async function joinStyles(): Promise<string> {
  const files = await Promise.all(STYLES.map((path) => readFile(path, 'utf8')))
  return files.join('\n')
}

/** Unix time in milliseconds, as everywhere here. The lock file changes with the packages. */
async function newestSource(): Promise<number> {
  const sources = [HERE, join(REPOSITORY, 'src', 'client')].map((folder) => filesIn(folder))
  const files = [join(REPOSITORY, 'bun.lock'), ...(await Promise.all(sources)).flat()]
  return Math.max(...(await Promise.all(files.map(async (file) => (await stat(file)).mtimeMs))))
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const found = entries.map(async (entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return ['dist', 'node_modules'].includes(entry.name) ? [] : filesIn(path)
    return [path]
  })
  return (await Promise.all(found)).flat()
}

async function oldestBuilt(): Promise<number> {
  const times = Object.keys(BUILT).map(async (name) => {
    const found = await stat(join(DIST, name)).catch(() => undefined)
    return found?.mtimeMs ?? 0
  })
  return Math.min(...(await Promise.all(times)))
}

if (import.meta.main && (await buildConsole())) process.stdout.write('The console is built.\n')
