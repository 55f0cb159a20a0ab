/** Writes one log line per request. */
import type { Log } from '../log.ts'
import type { RequestRecord } from '../telemetry/record.ts'

// Monitoring requests these every few seconds.
const QUIET = new Set(['/health/live', '/health/ready', '/metrics'])

/**
 * Logs requests for health and metrics at debug, and the service's own failures with their cause.
 * @param deps.trusted for lines whose fields are all the service's own or validated
 */
export function createRequestLog(deps: { log: Log; trusted: Log }): (record: RequestRecord) => void {
  const { log, trusted } = deps
  return function logRequest(record) {
    if (QUIET.has(record.route)) trusted.debug(lineOf(record), 'request')
    else if (record.status < 500) trusted.info(lineOf(record), 'request')
    else log.error({ ...lineOf(record), err: record.cause }, 'request')
  }
}

/** The fields of the line; undefined ones are omitted. */
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
