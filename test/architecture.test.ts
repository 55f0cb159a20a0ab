import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { repository } from './support/repository.ts'
import { createFolder, type Folder } from './support/services/folder.ts'

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
  ['src/config.ts', 'const port = process.env.PORT'],
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
  expect(holders).toContain('src/media/table/repository.ts')
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
