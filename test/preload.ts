import { afterAll } from 'bun:test'
import { buildConsole } from '../src/console/build.ts'
import { endWhatIsShared } from './support/services/shared.ts'

// Loaded before every `bun test` (see bunfig.toml). The service answers with the page as it is built.
await buildConsole()
/** Runs once, after the last file. */
afterAll(endWhatIsShared, 60_000)
