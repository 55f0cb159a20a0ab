/** The log: one JSON line an entry, without what lets its reader act for somebody else. */
import process from 'node:process'
import { type DestinationStream, pino } from 'pino'
import { currentRecord } from './telemetry/record.ts'

/** What modules log through; a test may give its own. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'>

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type LogOutput = {
  /** What is written here is out when the call returns. */
  now: DestinationStream
  /** What is written here is out within a tenth of a second, and before the process ends by itself. */
  soon: DestinationStream
}

type Options = { level: LogLevel; output: DestinationStream }

/** Entries say which request they belong to. */
export function createLog({ level, output }: Options): Log {
  return pino(
    {
      ...FORMAT,
      level,
      mixin: () => ({ requestId: currentRecord()?.requestId }),
      // On the line as it is written: errors of libraries carry URLs and headers in places that nobody can list.
      hooks: { streamWrite: withoutSecrets },
    },
    output,
  )
}

/** For entries of which every field is known to hold no secret: looking for one costs more than writing the line. */
export function createTrustedLog({ level, output }: Options): Log {
  return pino({ ...FORMAT, level }, output)
}

const FORMAT = { base: null, timestamp: pino.stdTimeFunctions.isoTime }

const FLUSH_MS = 100
const PENDING_CHARACTERS = 8192

/** Standard output: for people where it is a terminal, else lines of JSON. */
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
      // Each write costs as much as making three lines.
      write(line) {
        pending += line
        if (pending.length > PENDING_CHARACTERS) flush()
        else flushing ??= setTimeout(flush, FLUSH_MS)
      },
    },
  }
}

/** Tokens, signatures of links, credentials in URLs and in headers. No quotes or backslashes, so that JSON stays JSON. */
const SECRETS: [RegExp, string][] = [
  [/\beyJ[\w-]{5,}(?:\.[\w-]*)+/g, '[token]'],
  [/\b(bearer|basic) +[^\s"\\]+/gi, '$1 [redacted]'],
  [/\b(x-amz-(?:signature|security-token)|signature)=[^\s"\\&]+/gi, '$1=[redacted]'],
  [/("(?:authorization|x-gateway-secret|cookie)" *: *")(?:[^"\\]|\\.)*/gi, '$1[redacted]'],
  // What S3 repeats of a request that it refuses (SignatureDoesNotMatch, ExpiredToken): its XML, and as the SDK has it.
  [/(<(?:SignatureProvided|Token-\d+)>)[^<"\\]*/g, '$1[redacted]'],
  [/("(?:SignatureProvided|Token-\d+)" *: *")(?:[^"\\]|\\.)*/g, '$1[redacted]'],
  [/(\/\/[^\s"\\/@:]*):[^\s"\\/@]+@/g, '$1:[redacted]@'],
]

function withoutSecrets(line: string): string {
  return SECRETS.reduce((text, [secret, instead]) => text.replace(secret, instead), line)
}
