/** Waits for what the service depends on, while it starts. */
import pRetry from 'p-retry'
import type { Log } from '../log.ts'

/**
 * Retries for half a minute, because services that start together become ready in any order.
 * @param isPermanent whether trying again cannot help
 */
export function reachable<T>(
  name: string,
  log: Log,
  attempt: () => Promise<T>,
  isPermanent: (error: unknown) => boolean = () => false,
): Promise<T> {
  return pRetry(attempt, {
    retries: 20,
    minTimeout: 200,
    maxTimeout: 3000,
    maxRetryTime: 30_000,
    shouldRetry: ({ error }) => !isPermanent(error),
    onFailedAttempt({ error }) {
      if (!isPermanent(error)) log.warn({ err: error.cause ?? error }, `${name}: not ready, trying again`)
    },
  })
}
