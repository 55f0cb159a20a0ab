/** The line that each request has in the log. */
import type { Log } from '../log.ts'
import type { RequestRecord } from '../telemetry/record.ts'

// Asked every few seconds, by what watches the service.
const QUIET = new Set(['/health/live', '/health/ready', '/metrics'])

/**
 * Health and metrics are logged at level debug, failures of the service's own with what they came from.
 * @param deps.trusted for lines of which each field is the service's own, or of a checked form
 */
export function createRequestLog(deps: { log: Log; trusted: Log }): (record: RequestRecord) => void {
  const { log, trusted } = deps
  return function logRequest(record) {
    if (QUIET.has(record.route)) trusted.debug(lineOf(record), 'request')
    else if (record.status < 500) trusted.info(lineOf(record), 'request')
    else log.error({ ...lineOf(record), err: record.cause }, 'request')
  }
}

/** What is undefined is left out of the line. */
function lineOf(record: RequestRecord) {
  const { spent } = record
  return {
    requestId: record.requestId,
    traceId: record.traceId,
    method: record.method,
    route: record.route,
    status: record.status,
    ms: rounded(record.ms),
    bytesIn: record.bytesIn,
    bytesOut: record.bytesOut,
    userId: record.userId,
    mediaId: record.mediaId,
    code: record.code,
    databaseMs: rounded(spent.database),
    storeMs: rounded(spent.store),
    eventsMs: rounded(spent.events),
    imageMs: rounded(spent.image),
    limitsMs: rounded(spent.limits),
  }
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 100) / 100
}
