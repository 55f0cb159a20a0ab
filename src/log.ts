/** The log: one JSON line an entry. */
import { pino } from 'pino'

/** What modules log through; a test may give its own. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'>

export function createLog(): Log {
  return pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime })
}
