import { afterAll } from 'bun:test'
import { endWhatIsShared } from './support/services/shared.ts'

/** Loaded before every `bun test` (see bunfig.toml), so this runs once, after the last file. */
afterAll(endWhatIsShared, 60_000)
