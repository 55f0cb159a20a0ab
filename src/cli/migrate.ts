/**
 * `bun run migrate`: applies new migrations and prints their names. Reads the database's settings only, so that a role
 * with rights on the schema needs no other secret of the service.
 */
import process from 'node:process'
import { openDataDirOnce } from '../boot/data-dir.ts'
import { openDatabase } from '../boot/database.ts'
import { readDatabaseConfig } from '../config/config.ts'
import { createLog, openLogOutput } from '../log.ts'

const closers: (() => void | Promise<void>)[] = []
try {
  const { ports, log } = readDatabaseConfig()
  const { now: output } = await openLogOutput()
  const inDataDir = openDataDirOnce(ports.dataDir, closers)
  const { applied, close } = await openDatabase(ports, inDataDir, createLog({ level: log.level, output }))
  closers.push(close)
  for (const name of applied) console.log(`applied: ${name}`)
  if (applied.length === 0) console.log('The schema is that of this version; nothing to apply.')
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  for (const close of closers.reverse()) await close()
}
