import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import { inCi } from '../process/ci.ts'

// Where Debian's package puts it.
const PATH = '/usr/bin/chromium'

export function findChromium(): string | null {
  return existsSync(PATH) ? PATH : null
}

/**
 * Whether there is a browser, for `describe.skipIf(!haveChromium())`. Without one its tests are skipped at home, loudly,
 * and fail in CI.
 */
export function haveChromium(): boolean {
  if (findChromium() !== null) return true
  const missing = `There is no ${PATH}: install what Debian calls chromium, as \`bun test/setup.ts\` does.`
  if (inCi()) throw new Error(missing)
  console.error(`\n*** SKIPPING every test that needs a browser. ${missing}\n`)
  return false
}

/** A browser without a window, that calls nobody by itself. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: PATH,
    args: [
      // Containers run tests as root, where Chromium's sandbox refuses to work.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}
