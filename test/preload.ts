import { afterAll, beforeAll } from 'bun:test'
import sharp from 'sharp'
import { buildConsole } from '../src/console/build.ts'
import { endWhatIsShared } from './support/services/shared.ts'

// Loaded before every `bun test` (see bunfig.toml). The service answers with the page as it is built.
await buildConsole()
// Files share a process: a domain blocks the loaders of types that its settings do not allow, for all that follow.
beforeAll(() => sharp.unblock({ operation: ['VipsForeignLoad'] }))
/** Runs once, after the last file. */
afterAll(endWhatIsShared, 60_000)
