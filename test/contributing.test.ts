import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './support/repository.ts'

const text = await Bun.file(join(repository, 'CONTRIBUTING.md')).text()
const { scripts } = await Bun.file(join(repository, 'package.json')).json()

test('CONTRIBUTING.md names only files and folders that are there', () => {
  const paths = [...text.matchAll(/\b(?:src|test|sql)\/[\w./-]*\w/g)].map(([path]) => path)
  const named = paths.filter((path) => !path.includes('NNNN'))
  expect(named.length).toBeGreaterThan(10)
  expect(named.filter((path) => !existsSync(join(repository, path)))).toEqual([])
})

test('CONTRIBUTING.md names only scripts that package.json has', () => {
  const named = [...text.matchAll(/\bbun run ([\w:]+)/g)].map(([, name = '']) => name)
  expect(named).toContain('dev:watch')
  expect(named.filter((name) => scripts[name] === undefined)).toEqual([])
})

test('the changelog has an entry for the version of package.json, and a section for what comes next', async () => {
  const { version } = await Bun.file(join(repository, 'package.json')).json()
  const headings = (await Bun.file(join(repository, 'CHANGELOG.md')).text()).match(/^## .+$/gm) ?? []
  expect(headings[0]).toBe('## Unreleased')
  expect(headings[1]).toStartWith(`## ${version} - `)
})
