import { inCi } from '../process/ci.ts'
import { type Services, ServicesMissing, startServices, withoutServices } from './services.ts'

let shared: Promise<Services> | undefined

/** The services this test process shares, started at the first call. The preload stops them at the end. */
export function services(): Promise<Services> {
  shared ??= startServices()
  return shared
}

/**
 * Whether there are services, for `describe.skipIf(!(await haveServices()))` at the top of a test file; it starts them,
 * so that the time this takes is not taken from a hook's. Without services everything that asks is skipped at home, and
 * fails in CI.
 */
export async function haveServices(): Promise<boolean> {
  if (withoutServices()) return false
  try {
    await services()
    return true
  } catch (error) {
    if (!(error instanceof ServicesMissing) || inCi()) throw error
    if (!announced) console.error(`\n*** SKIPPING every test that needs real services. ${error.message}\n`)
    announced = true
    return false
  }
}

/** Has something that several files share end after the last of them, while its services are still there. */
export function afterAllFiles(end: () => Promise<void>): void {
  ends.push(end)
}

/** Throws what an end throws, with everything stopped. */
export async function endWhatIsShared(): Promise<void> {
  try {
    for (const end of ends.splice(0)) await end()
  } finally {
    const started = await shared?.catch(() => undefined)
    shared = undefined
    await started?.stop()
  }
}

const ends: (() => Promise<void>)[] = []

let announced = false
