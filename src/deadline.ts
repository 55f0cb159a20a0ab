/** Work that must not take for ever. */

/** A signal that aborts after `ms` milliseconds, or when the caller's own does. */
export function deadline(ms: number, signal?: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(ms)
  return signal === undefined ? timeout : AbortSignal.any([timeout, signal])
}

/**
 * The outcome of `work`, or that of `onLate` when it is not there within `ms` milliseconds. Nothing ends the work: it goes
 * on, and how it ends then is not looked at.
 * @throws what `work` or `onLate` throws
 */
export async function inTime<T, L>(work: PromiseLike<T>, ms: number, onLate: () => L): Promise<T | L> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  }).then(onLate)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
