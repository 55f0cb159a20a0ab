import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { commandFor } from './support/process/service.ts'
import { fencedBlocks, GUIDES, INSIDE, readPages } from './support/readme.ts'
import { repository } from './support/repository.ts'

const guides = await readPages(...GUIDES)
const inline = [...guides.matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text)

test('the README has at most 150 lines, and says what is measured, not what was hoped for', async () => {
  const text = await readPages('README.md')
  expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(150)
  expect(text).not.toContain('missed')
})

// Settings of MinIO, of the AWS SDK and of the runtimes.
const FOREIGN = new Set(['MINIO_API_CORS_ALLOW_ORIGIN', 'AWS_PROFILE', 'NODE_EXTRA_CA_CERTS', 'DENO_CERT'])

describe('the README and docs', () => {
  test('name only scripts and files that are there', async () => {
    const { scripts } = await Bun.file(join(repository, 'package.json')).json()
    const named = [...guides.matchAll(/\bbun(?:@[\d.]+)? run ([\w:-]+)/g)].map(([, script = '']) => script)
    expect(named.length).toBeGreaterThan(4)
    for (const script of named) expect(Object.keys(scripts)).toContain(script)
    const files = inline.filter((text) => /^(src|test|deploy|bench|examples|sql)\/[\w./-]+$/.test(text))
    const written = (await readPages(...INSIDE)).matchAll(/`((?:src|test|deploy|bench|examples|sql)\/[\w./-]+)`/g)
    // A migration that a first change would add.
    const inside = [...written].map(([, name = '']) => name).filter((name) => !name.includes('NNNN'))
    expect(inside.length).toBeGreaterThan(50)
    const missing = [...files, ...inside, 'examples/consumer.ts'].filter((file) => !existsSync(join(repository, file)))
    expect(missing).toEqual([])
  })

  test.each([...GUIDES, ...INSIDE])('link only to what is there: %s', async (page) => {
    const links = [...(await readPages(page)).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)/g)]
    for (const [link, path = '', anchor] of links) {
      const target = path === '' ? page : normalize(join(dirname(page), path))
      expect([link, existsSync(join(repository, target))]).toEqual([link, true])
      if (anchor === undefined) continue
      const headings = [...(await readPages(target)).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => slugOf(heading))
      expect([link, headings.includes(anchor)]).toEqual([link, true])
    }
  })

  test('name only settings that are there, with their defaults', async () => {
    const command = [process.execPath, '--no-env-file', join(repository, 'src/cli/config.ts')]
    const { stdout } = Bun.spawnSync(command, { env: { PATH: process.env.PATH } })
    const defaults = new Map(
      [...stdout.toString().matchAll(/^([A-Z0-9_]+)\n.*\n {2}(?:default: (.*)|not set)$/gm)].map(
        ([, name = '', value]) => [name, value],
      ),
    )
    const compose = await Bun.file(join(repository, 'docker-compose.yml')).text()
    const named = [...guides.matchAll(/`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`(?: \((\d+)( MiB)?\))?/g)]
    expect(named.length).toBeGreaterThan(20)
    for (const [, name = '', number, unit] of named) {
      const known = defaults.has(name) || compose.includes(name) || FOREIGN.has(name)
      expect([name, known]).toEqual([name, true])
      const value = Number(number) * (unit === undefined ? 1 : 1024 * 1024)
      if (number !== undefined) expect([name, defaults.get(name)]).toEqual([name, String(value)])
    }
  })

  test('give Compose what it requires', async () => {
    const compose = await Bun.file(join(repository, 'docker-compose.yml')).text()
    const required = new Set([...compose.matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name))
    const exported = [...(await fencedBlocks('sh')).join('\n').matchAll(/(\w+)=…/g)].map(([, name = '']) => name)
    expect(exported.sort()).toEqual([...required].sort())
  })

  test('allow Deno what the tests allow it', () => {
    const line = inline.find((text) => text.startsWith('deno serve '))
    const [, ...words] = commandFor('deno', 8080)
    const tested = words.filter((word) => !['--no-lock', '--host', '127.0.0.1'].includes(word))
    expect(line?.split(' ')).toEqual(['deno', ...tested.slice(0, -1), 'src/main.ts'])
  })

  test('list every alert with its severity, and no other', async () => {
    type Rules = { groups: { rules: { alert: string; labels: { severity: string } }[] }[] }
    const file = Bun.file(join(repository, 'deploy/alerts.yml'))
    const { groups } = Bun.YAML.parse(await file.text()) as Rules
    const alerts = groups.flatMap(({ rules }) => rules.map(({ alert, labels }) => `${alert} ${labels.severity}`))
    const rows = [...guides.matchAll(/^\| `(Media\w+)` \((\w+)\) \| [^|]+ \| [^|]+ \|$/gm)]
    expect(rows.map(([, alert, severity]) => `${alert} ${severity}`).sort()).toEqual(alerts.sort())
  })

  test('show JSON that can be parsed', async () => {
    for (const block of await fencedBlocks('json')) expect(() => JSON.parse(block)).not.toThrow()
  })
})

/** The anchor that GitHub gives a heading. */
function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')
}
