/** A signal that aborts after `ms` milliseconds, or when the caller's own does. */
export function deadline(ms: number, signal?: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(ms)
  return signal === undefined ? timeout : AbortSignal.any([timeout, signal])
}
