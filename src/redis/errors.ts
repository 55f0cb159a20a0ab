/** The kinds of Redis errors, told apart by their first word. */
import { isCertificateError } from '../certificate.ts'

const ELSEWHERE = /^(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|MOVED|ASK|UNBLOCKED)|-READONLY|script.*\bREADONLY\b/

/**
 * Whether this server takes no writes, while another one may: a replica, as after a failover behind the same address,
 * or a server that is still loading. ioredis (6.0.0) shows the reason of an EXECABORT in `previousErrors` only, where
 * its `reconnectOnError` does not look.
 */
export function isElsewhere(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (ELSEWHERE.test(error.message)) return true
  const { previousErrors } = error as Error & { previousErrors?: unknown }
  return Array.isArray(previousErrors) && previousErrors.some(isElsewhere)
}

/** Whether the server lets the caller in, but not do this, or not at all: trying again does not help. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const refused = /^(WRONGPASS|NOAUTH|NOPERM|ERR (AUTH|invalid password|DB index|SELECT))/i.test(error.message)
  return refused || isCertificateError(error)
}
