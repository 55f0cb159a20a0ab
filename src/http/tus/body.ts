/** Turns the body of a PATCH into a stream that never fails: a broken connection ends it. */

const STALLED_MS = 30_000
// 64 KiB/s is a poor mobile connection; a slower body is ended only while other uploads wait.
const PACE_WINDOW_MS = 5000
const FAIR_BYTES = (64 * 1024 * PACE_WINDOW_MS) / 1000

export type ArrivingBody = {
  stream: ReadableStream<Uint8Array>
  /** Stops reading the body. A body that was never read is left for `drainUnread`. */
  release(): void
}

/**
 * Returns a stream that ends with the body, when the connection is lost, after 30 seconds of silence, and on `signal`:
 * the bytes received until then are kept, as tus 1.0 requires ("The Server SHOULD always attempt to store as much of
 * the received data as possible").
 * @param contended whether other uploads wait for the space that this body holds; a slow body then ends as well
 */
export function arriving(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  contended: () => boolean,
): ArrivingBody {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  let watch: ReturnType<typeof setTimeout> | undefined
  // Since the last check: bytes received, and time spent waiting for them.
  let came = 0
  let waited = 0
  const release = () => {
    clearTimeout(watch)
    signal.removeEventListener('abort', release)
    // Ends a pending read.
    reader?.cancel().catch(() => {})
  }
  const isSlow = () => {
    if (waited < PACE_WINDOW_MS) return false
    const slow = contended() && came < FAIR_BYTES
    came = 0
    waited = 0
    return slow
  }
  /** For one read. */
  const watchFor = (silent: number) => {
    watch = setTimeout(() => {
      if (silent + PACE_WINDOW_MS >= STALLED_MS || contended()) release()
      else watchFor(silent + PACE_WINDOW_MS)
    }, PACE_WINDOW_MS)
  }
  signal.addEventListener('abort', release)
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (signal.aborted) return controller.close()
        reader ??= body.getReader()
        clearTimeout(watch)
        watchFor(0)
        const from = performance.now()
        const { done, value } = await reader.read().catch(() => ENDED)
        clearTimeout(watch)
        waited += performance.now() - from
        came += value?.length ?? 0
        if (!done) controller.enqueue(value)
        if (done || isSlow()) {
          controller.close()
          release()
        }
      },
      cancel: release,
    },
    // Reads nothing before the store asks, so that a refusal leaves the body unread.
    { highWaterMark: 0 },
  )
  return { stream, release }
}

const ENDED = { done: true, value: undefined } as const
