import { inCi } from './ci.ts'
import { findGoProgram } from './go.ts'

export function findActionlint(): string | undefined {
  return findGoProgram('actionlint')
}

/** Whether there is actionlint, for `test.skipIf(!haveActionlint())`: without, skipped at home, and failed in CI. */
export function haveActionlint(): boolean {
  if (findActionlint() !== undefined) return true
  const missing = 'There is no actionlint: `bun test/setup.ts` builds it.'
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING the check of the workflows. ${missing}\n`)
  return false
}
