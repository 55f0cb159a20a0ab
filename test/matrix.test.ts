import { expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ACCEPTANCE, ANY_BACKEND, ANY_RUNTIME, acceptanceFilesBut, RUNTIME_FAULTS } from './matrix.ts'
import { repository } from './support/repository.ts'

const textOf = (name: string) => readFileSync(join(repository, ACCEPTANCE, `${name}.test.ts`), 'utf8')

test('every file that is left out on a second runtime or backend is there, and the rest runs', () => {
  const all = acceptanceFilesBut([])
  for (const names of [ANY_RUNTIME, ANY_BACKEND]) {
    const left = new Set(names.map((name) => `./${ACCEPTANCE}/${name}.test.ts`))
    expect(acceptanceFilesBut(names)).toEqual(all.filter((file) => !left.has(file)))
    expect(all.filter((file) => left.has(file))).toHaveLength(names.length)
  }
  for (const file of RUNTIME_FAULTS) expect([file, existsSync(join(repository, file))]).toEqual([file, true])
})

test('no file that has tests for the embedded backend alone is left out there', () => {
  const alone = /backend === 'real'[^'\n]*\)\s*\(|backend !== 'embedded'|if \(backend === 'embedded'\) \{/
  expect(alone.test(textOf('embedded'))).toBe(true)
  expect(alone.test(textOf('sign'))).toBe(true)
  expect(ANY_BACKEND.filter((name) => alone.test(textOf(name)))).toEqual([])
})

test('no file that does different things by runtime is left out on Deno', () => {
  expect(ANY_RUNTIME.filter((name) => /runtime [!=]== '/.test(textOf(name)))).toEqual([])
})
