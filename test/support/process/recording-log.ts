import { pino } from 'pino'
import type { Log } from '../../../src/log.ts'

export type Line = { level: number; msg: string; err?: { message: string } }

/** The service's log with its lines kept: 30 is info, 40 a warning, 50 an error. */
export function createRecordingLog(): { log: Log; lines: Line[] } {
  const lines: Line[] = []
  const log = pino({ base: null, level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  return { log, lines }
}
