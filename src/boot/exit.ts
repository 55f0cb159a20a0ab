/** Ends a process that cannot start, with a message for the operator and exit code 1. */
import process from 'node:process'
import { type Config, ConfigError, readConfig } from '../config/config.ts'

export function readOrExit(): Config {
  try {
    return readConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return exitWith(error.message)
  }
}

/** Ends the process when opening fails. */
export async function exitOn<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? `\n  ${error.cause.message}` : ''
    return exitWith(`The service cannot start: ${error instanceof Error ? error.message : error}${cause}`)
  }
}

export function exitWith(text: string): never {
  console.error(text)
  process.exit(1)
}

/**
 * Ends the process on SIGTERM and SIGINT until the returned function is called: as process 1 of a container it would
 * ignore a signal that has no handler, and be killed only after the engine's whole grace period.
 */
export function exitOnSignals(): () => void {
  const codes = { SIGTERM: 143, SIGINT: 130 } as const
  const handlers = Object.entries(codes).map(([signal, code]) => [signal, () => process.exit(code)] as const)
  for (const [signal, exit] of handlers) process.on(signal, exit)
  return () => {
    for (const [signal, exit] of handlers) process.off(signal, exit)
  }
}
