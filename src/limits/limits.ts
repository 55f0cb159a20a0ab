/** The rate limiter's port. */

/** The state of one key within its minute. */
export type Allowance = {
  /** Whether the counted request is within the limit. */
  allowed: boolean
  /** How many more requests are within the limit. */
  remaining: number
  /** Seconds until the minute ends and the count starts again. */
  resetSeconds: number
}

export type Limiter = {
  /** Requests per minute and key. */
  readonly limit: number
  /**
   * Counts one request of a key. Null when it cannot be counted: the request passes, because an outage of Redis must
   * not become an outage of the service. Never throws, and takes at most 250 ms.
   */
  take(key: string): Promise<Allowance | null>
  close(): Promise<void>
}

export const WINDOW_SECONDS = 60
