/** The body of a PATCH as a store likes it: it never breaks off, it ends. */

const STALLED_MS = 30_000
// 64 KiB a second is a poor mobile connection; slower than that it may be while nobody waits.
const PACE_WINDOW_MS = 5000
const FAIR_BYTES = (64 * 1024 * PACE_WINDOW_MS) / 1000

export type ArrivingBody = {
  stream: ReadableStream<Uint8Array>
  /** Lets go of a body that nobody reads any more. One that was never read is left for others to take in. */
  release(): void
}

/**
 * A stream that ends where the body does, where its connection is lost, where nothing has come for half a minute, and
 * when the signal says so: what has arrived until then is kept, as tus 1.0 asks for ("The Server SHOULD always
 * attempt to store as much of the received data as possible").
 * @param contended whether others wait for the room that this body has: then it ends where it is slow, too
 */
export function arriving(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  contended: () => boolean,
): ArrivingBody {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  let watch: ReturnType<typeof setTimeout> | undefined
  // Since the last look: what has come, and for how long it was waited for.
  let came = 0
  let waited = 0
  const release = () => {
    clearTimeout(watch)
    signal.removeEventListener('abort', release)
    // A read that is waiting then ends.
    reader?.cancel().catch(() => {})
  }
  const isSlow = () => {
    if (waited < PACE_WINDOW_MS) return false
    const slow = contended() && came < FAIR_BYTES
    came = 0
    waited = 0
    return slow
  }
  /** Of one read. */
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
    // Nothing is read before the store asks: a refusal leaves the body as it is.
    { highWaterMark: 0 },
  )
  return { stream, release }
}

const ENDED = { done: true, value: undefined } as const
