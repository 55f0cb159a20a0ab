/** The port for counting requests. */

/** Where one key stands within its minute. */
export type Allowance = {
  /** Whether the request counted is within the limit. */
  allowed: boolean
  /** How many more are. */
  remaining: number
  /** Until the minute is over and all are allowed again. */
  resetSeconds: number
}

export type Limiter = {
  /** Requests a minute of one key. */
  readonly limit: number
  /**
   * Counts one request of a key. Null when it can't be counted, and passes: a limit must not turn the loss of Redis into
   * the loss of the service. Never throws, and takes 250 ms at most.
   */
  take(key: string): Promise<Allowance | null>
  close(): Promise<void>
}

export const WINDOW_SECONDS = 60
