/** `bun run config`: prints every setting, and the errors among them. */
import process from 'node:process'
import { ConfigError, describeSettings, readConfig } from '../config/config.ts'

console.log(describeSettings())
try {
  readConfig()
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(`\n${error.message}`)
  process.exitCode = 1
}
