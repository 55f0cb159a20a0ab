/** The log: one JSON line per entry, with tokens, signatures and credentials redacted. */
import process from 'node:process'
import { type DestinationStream, pino } from 'pino'
import { currentRecord } from './telemetry/record.ts'

/** The logger that modules are given; a test may pass its own. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'>

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type LogOutput = {
  /** Synchronous: the line is written when the call returns. */
  now: DestinationStream
  /** Buffered: the line is written within a tenth of a second, and before the process exits by itself. */
  soon: DestinationStream
}

type Options = { level: LogLevel; output: DestinationStream }

/** A logger that redacts secrets and adds the id of the current request. */
export function createLog({ level, output }: Options): Log {
  return pino(
    {
      ...FORMAT,
      level,
      mixin: () => ({ requestId: currentRecord()?.requestId }),
      // Redacts the finished line: errors of libraries carry URLs and headers in places that no list of fields covers.
      hooks: { streamWrite: withoutSecrets },
    },
    output,
  )
}

/** A logger without redaction, for lines whose fields are all safe; redacting costs more than writing. */
export function createTrustedLog({ level, output }: Options): Log {
  return pino({ ...FORMAT, level }, output)
}

const FORMAT = { base: null, timestamp: pino.stdTimeFunctions.isoTime }

const FLUSH_MS = 100
const PENDING_CHARACTERS = 8192

/** Standard output: readable text on a terminal, else lines of JSON. */
export async function openLogOutput(): Promise<LogOutput> {
  if (process.stdout.isTTY) {
    const { default: pretty } = await import('pino-pretty')
    const terminal = pretty({
      sync: true,
      singleLine: true,
      translateTime: 'SYS:HH:MM:ss.l',
      ignore: 'method,route,status,ms',
      messageFormat: '{msg}{if route} {method} {route} {status}, {ms} ms{end}',
    })
    return { now: terminal, soon: terminal }
  }
  const stdout = pino.destination({ dest: 1, sync: true })
  let pending = ''
  let flushing: ReturnType<typeof setTimeout> | undefined
  const flush = () => {
    clearTimeout(flushing)
    flushing = undefined
    if (pending !== '') stdout.write(pending)
    pending = ''
  }
  process.once('exit', flush)
  return {
    now: {
      write(line) {
        flush()
        stdout.write(line)
      },
    },
    soon: {
      // One write costs as much as formatting three lines.
      write(line) {
        pending += line
        if (pending.length > PENDING_CHARACTERS) flush()
        else flushing ??= setTimeout(flush, FLUSH_MS)
      },
    },
  }
}

/**
 * Tokens, link signatures, and credentials in URLs and headers. The patterns match no quotes or backslashes, so that
 * the line stays valid JSON.
 */
const SECRETS: [RegExp, string][] = [
  [/\beyJ[\w-]{5,}(?:\.[\w-]*)+/g, '[token]'],
  [/\b(bearer|basic) +[^\s"\\]+/gi, '$1 [redacted]'],
  [/\b(x-amz-(?:signature|security-token)|signature)=[^\s"\\&]+/gi, '$1=[redacted]'],
  [/("(?:authorization|x-gateway-secret|cookie)" *: *")(?:[^"\\]|\\.)*/gi, '$1[redacted]'],
  // S3 echoes a refused request (SignatureDoesNotMatch, ExpiredToken): in its XML, and as fields of the SDK's error.
  [/(<(?:SignatureProvided|Token-\d+)>)[^<"\\]*/g, '$1[redacted]'],
  [/("(?:SignatureProvided|Token-\d+)" *: *")(?:[^"\\]|\\.)*/g, '$1[redacted]'],
  [/(\/\/[^\s"\\/@:]*):[^\s"\\/@]+@/g, '$1:[redacted]@'],
]

function withoutSecrets(line: string): string {
  return SECRETS.reduce((text, [secret, instead]) => text.replace(secret, instead), line)
}
