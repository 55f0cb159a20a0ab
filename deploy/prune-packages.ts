/**
 * `bun deploy/prune-packages.ts node_modules`: removes what the service never loads in its image, 90 of 140 MB. Licences
 * stay, as they ask to.
 */
import { readdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'

/** Whole packages. */
const PACKAGES = [
  // PGlite, for a service without DATABASE_URL: in an image its data would end with the container.
  '@electric-sql',
  // Optional dependencies of @tus/server, for a store that the service does not use.
  '@redis',
  '@tus/server/node_modules/ioredis',
  // libheif-js: the same library as JavaScript. The one in WebAssembly is loaded, with its licence beside it.
  'libheif-js/libheif',
  // For compilers only.
  '@types',
  'undici-types',
]

/** Files inside packages, of every package. */
const FILES = [
  // Source maps, declarations, and sources that lie beside what was compiled from them.
  /\.map$/,
  /\.[cm]?ts$/,
  /\.(md|markdown)$/i,
  // swagger-ui-dist: builds for bundlers, and one that loads its dependencies from elsewhere.
  /^swagger-ui(-es-bundle(-core)?)?\.js$/,
  /^log\..*\.txt$/,
  // libheif-js: builds for other ways of loading it.
  /^libheif(-bundle)?\.js$/,
  /^libheif\.wasm$/,
]

const FOLDERS = new Set([
  'test',
  'tests',
  '__tests__',
  'docs',
  'example',
  'examples',
  'fixtures',
  'bench',
  'benchmarks',
])

const KEPT = /^(licen[cs]e|copying|notice)/i

if (import.meta.main) await prune(process.argv[2] ?? '')

export async function prune(modules: string): Promise<void> {
  for (const name of PACKAGES) await rm(join(modules, name), { recursive: true, force: true })
  for (const entry of await readdir(modules, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isDirectory() ? isSpare(path) : isSpareFile(entry.name)) await rm(path, { recursive: true, force: true })
  }
}

function isSpareFile(name: string): boolean {
  return !KEPT.test(name) && FILES.some((pattern) => pattern.test(name))
}

/** A folder of that name inside a package; a package may be called so itself. */
function isSpare(path: string): boolean {
  return FOLDERS.has(basename(path)) && !/node_modules\/(@[^/]+\/)?[^/]+$/.test(path)
}
