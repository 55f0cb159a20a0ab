import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inCache } from '../support/process/cache.ts'
import { inCi } from '../support/process/ci.ts'

/** It and all that it needs, in exact versions. */
export const REQUIREMENTS = join(import.meta.dir, 'requirements.txt')

/** A virtual environment in the user's cache, named after its content, so that other versions make a new one. */
export const ENVIRONMENT = inCache(`schemathesis-${Bun.hash(readFileSync(REQUIREMENTS)).toString(36)}`)

export function findSchemathesis(): string | null {
  const program = join(ENVIRONMENT, 'bin', 'schemathesis')
  return existsSync(program) ? program : null
}

/** Whether it is there. Without it its tests are skipped at home, loudly, and fail in CI. */
export function haveSchemathesis(): boolean {
  if (findSchemathesis() !== null) return true
  const missing = `It is not in ${ENVIRONMENT}: \`bun test/setup.ts\` installs it.`
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING schemathesis. ${missing}\n`)
  return false
}
