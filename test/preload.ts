import { afterAll } from 'bun:test'
import { stopSharedServices } from './services/shared.ts'

/** Loaded before every `bun test` (see bunfig.toml), so this runs once, after the last file. */
afterAll(stopSharedServices, 60_000)
