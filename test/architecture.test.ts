import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { cp } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { repository } from './support/repository.ts'
import { createFolder, type Folder } from './support/services/folder.ts'

// What each room of src may import, from the top of the house to its ground: nothing below imports anything above.
const ground = 'problem.ts finding.ts secrets.ts deadline.ts certificate.ts budget.ts log.ts telemetry'
const ports = 'auth events limits redis db storage storage/s3 storage/disk'
const domain =
  'media/object media/table media/bytes media/decoding media/outbox media/public-copies media/upkeep media/renditions media/objects media/uploads media'
const web = 'http/request http/body http/openapi http http/routes http/tus http/pages'
const rooms: Record<string, string> = {
  'main.ts': 'boot log.ts',
  cli: `auth boot config doctor finding.ts log.ts storage storage/s3 ${domain}`,
  doctor: `boot config auth db redis storage/s3 ${ground}`,
  boot: `config observe pictures ${web} ${domain} ${ports} ${ground}`,
  config: 'db redis storage/s3 media/object finding.ts secrets.ts',
  http: `${web} observe auth events limits media media/outbox media/public-copies media/renditions storage/disk ${ground}`,
  'http/pages': `http http/openapi http/request storage console ${ground}`,
  'http/tus': `http http/openapi http/request auth media media/object media/uploads storage ${ground}`,
  'http/routes': `http http/body http/openapi http/request observe auth media/object media/outbox media/public-copies storage storage/disk ${ground}`,
  'http/openapi': `http/request media/object storage ${ground}`,
  'http/body': ground,
  'http/request': `auth limits ${ground}`,
  observe: `media/table media/upkeep pictures ${ground}`,
  media: `${domain} auth storage ${ground}`,
  'media/uploads': `media media/bytes media/object media/table auth pictures db storage ${ground}`,
  'media/objects': `media media/bytes media/object media/public-copies media/table auth events ${ground}`,
  'media/renditions': `media media/bytes media/decoding media/object media/table auth storage ${ground}`,
  'media/upkeep': `media/bytes media/decoding media/object media/outbox media/public-copies media/table storage ${ground}`,
  'media/public-copies': `media/bytes media/decoding media/object media/outbox media/table storage ${ground}`,
  'media/outbox': `media/table auth db events ${ground}`,
  'media/decoding': `media/object media/table pictures storage ${ground}`,
  'media/bytes': `media/object media/table pictures storage ${ground}`,
  'media/table': `media/object auth db events storage ${ground}`,
  pictures: `media/object ${ground}`,
  'media/object': `auth events ${ground}`,
  'storage/s3': `storage ${ground}`,
  'storage/disk': `storage ${ground}`,
  storage: ground,
  auth: ground,
  events: `redis ${ground}`,
  limits: `redis ${ground}`,
  redis: 'certificate.ts finding.ts',
  db: ground,
  'log.ts': 'telemetry',
  telemetry: 'problem.ts',
  'budget.ts': 'problem.ts',
  'deadline.ts': '',
  'certificate.ts': '',
  'problem.ts': '',
  'finding.ts': '',
  'secrets.ts': '',
  // Packages of their own.
  console: 'client',
  client: '',
}
/** Which room alone knows a package. */
const packages: [name: RegExp, rooms: string][] = [
  [/^(hono|@hono)(\/|$)/, `${web} observe`],
  [/^@aws-sdk\//, 'storage/s3'],
  [/^@tus\//, 'storage storage/s3 storage/disk http/tus'],
  [/^ioredis$/, 'redis events limits'],
  [/^jose$/, 'auth'],
  [/^(sharp|thumbhash)$/, 'pictures console'],
  [/^(postgres|@electric-sql\/.+)$/, 'db'],
  [/^(prom-client|@opentelemetry\/.+)$/, 'observe'],
  [/^(preact|@uppy\/.+)$/, 'console'],
]

type Import = { file: string; line: number; from: string; to: string }

describe('rooms', () => {
  let imports: Import[]
  beforeAll(async () => {
    imports = await importsOf('src')
  })

  test('import only what is below them', () => {
    const broken = imports.filter(({ from, to }) => {
      const [room, other] = [roomOf(from), roomOf(to)]
      return to.startsWith('src/') && room !== other && !rooms[room]?.split(' ').includes(other)
    })
    expect(broken.map(({ file, line, to }) => `${file}:${line} imports ${to}`)).toEqual([])
  })

  test('know the packages that are theirs', () => {
    const broken = imports.filter(({ from, to }) =>
      packages.some(([name, knowers]) => name.test(to) && !knowers.split(' ').includes(roomOf(from))),
    )
    expect(broken.map(({ file, line, to }) => `${file}:${line} imports ${to}`)).toEqual([])
  })

  test('are the rows of docs/ARCHITECTURE.md', async () => {
    const page = await Bun.file(join(repository, 'docs/ARCHITECTURE.md')).text()
    const [table = ''] = /^\| room in `src` \|[\s\S]*?\n\n/m.exec(page) ?? []
    const named = [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name)
    expect(named.sort()).toEqual(Object.keys(rooms).sort())
  })

  test('have no circle of files', () => {
    const next = Map.groupBy(imports, ({ from }) => from)
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' > '))
      if (done.has(file) || path.includes(file)) return
      for (const { to } of next.get(file) ?? []) visit(to, [...path, file])
      done.add(file)
    }
    for (const file of next.keys()) visit(file, [])
    expect(circles).toEqual([])
  })
})

/** A folder of src, two deep where the first is large; a file at the top stands for itself. */
function roomOf(file: string): string {
  const [first = '', second = '', third] = file.replace(/^src\//, '').split('/')
  if (second === '') return first
  return third !== undefined && ['http', 'media', 'storage'].includes(first) ? `${first}/${second}` : first
}

async function importsOf(folder: string): Promise<Import[]> {
  const found: Import[] = []
  for await (const file of new Bun.Glob(`${folder}/**/*.{ts,tsx}`).scan(repository)) {
    if (file.includes('node_modules') || file.includes('/dist/')) continue
    const lines = (await Bun.file(join(repository, file)).text()).split('\n')
    for (const [i, text] of lines.entries()) {
      for (const [, to = ''] of text.matchAll(/(?:\bfrom|\bimport\(?)\s*'([^']+)'/g))
        found.push({ file, line: i + 1, from: file, to: to.startsWith('.') ? normalize(join(dirname(file), to)) : to })
    }
  }
  return found
}

// One line each that must not be where it is. A file of this name need not exist.
const violations: [file: string, line: string, rule: string][] = [
  ['src/client/upload.ts', "import { Buffer } from 'node:buffer'", 'noRestrictedImports'],
  ['src/client/client.ts', "import { problemCodes } from '../problem.ts'", 'noRestrictedImports'],
  ['src/client/types.ts', "import type { ProblemCode } from '../problem.ts'", 'noRestrictedImports'],
  ['src/storage/disk/storage.ts', "const file = Bun.file('x')", 'noRestrictedGlobals'],
  ['src/main.ts', 'Deno.serve(() => new Response())', 'noRestrictedGlobals'],
  ['src/main.ts', 'const port = process.env.PORT', 'noProcessEnv'],
  ['src/boot/ports.ts', 'const url = process.env.DATABASE_URL', 'noProcessEnv'],
  ['src/http/body/read.ts', "console.log('here')", 'noConsole'],
]
const allowed: [file: string, line: string][] = [
  ['src/config/config.ts', 'const port = process.env.PORT'],
  ['src/client/client.ts', "import { upload } from './upload.ts'"],
]

const files = new Map<string, string[]>()
for (const [file, line] of [...violations, ...allowed]) files.set(file, [...(files.get(file) ?? []), line])

describe('the lint rules', () => {
  let folder: Folder
  let found: Broken[]
  beforeAll(async () => {
    folder = await createFolder()
    await cp(join(repository, 'biome.json'), join(folder.path, 'biome.json'))
    for (const [file, lines] of files) await Bun.write(join(folder.path, file), lines.join('\n'))
    found = await lint(folder.path)
  }, 30_000)
  afterAll(() => folder.remove())

  const rulesBroken = (file: string, line: string) => {
    const number = (files.get(file)?.indexOf(line) ?? -1) + 1
    return found.filter((broken) => broken.file === file && broken.line === number).map(({ rule }) => rule)
  }

  test.each(violations)('refuse in %s: %s (%s)', (file, line, rule) => {
    expect(rulesBroken(file, line)).toContain(rule)
  })

  test.each(allowed)('allow in %s: %s', (file, line) => {
    expect(
      rulesBroken(file, line).filter((rule) => rule.startsWith('noRestricted') || rule === 'noProcessEnv'),
    ).toEqual([])
  })
})

test('only the repository and the migrations hold SQL on media_objects', async () => {
  const holders: string[] = []
  for await (const file of new Bun.Glob('src/**/*.ts').scan(repository)) {
    const text = await Bun.file(join(repository, file)).text()
    if (/\b(FROM|INTO|UPDATE|TABLE|JOIN)\s+media_objects\b/i.test(text)) holders.push(file)
  }
  expect(holders).toContain('src/media/table/uploads.ts')
  expect(holders.filter((file) => !/^src\/media\/table\//.test(file))).toEqual([])
})

type Broken = { file: string; line: number; rule: string }

async function lint(cwd: string): Promise<Broken[]> {
  const biome = join(repository, 'node_modules', '.bin', 'biome')
  const command = [biome, 'lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json', '.']
  const child = Bun.spawn(command, { cwd, stdout: 'pipe', stderr: 'ignore' })
  const { diagnostics } = await new Response(child.stdout).json()
  await child.exited
  return diagnostics.map(({ category, location }: Diagnostic) => ({
    file: location.path,
    line: location.start.line,
    rule: category.split('/').at(-1),
  }))
}

type Diagnostic = { category: string; location: { path: string; start: { line: number } } }
