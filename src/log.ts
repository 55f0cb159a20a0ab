/** The log: one JSON line an entry, without what lets its reader act for somebody else. */
import { type DestinationStream, pino } from 'pino'

/** What modules log through; a test may give its own. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'>

/** @param destination where lines go; absent: stdout */
export function createLog(destination?: DestinationStream): Log {
  const options = {
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    // On the line as it is written: errors of libraries carry URLs and headers in places that nobody can list.
    hooks: { streamWrite: withoutSecrets },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
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
