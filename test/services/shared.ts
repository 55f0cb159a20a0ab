import { inCi } from '../ci.ts'
import { type Services, ServicesMissing, startServices } from './services.ts'

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

export async function stopSharedServices(): Promise<void> {
  const started = await shared?.catch(() => undefined)
  await started?.stop()
}

let announced = false
