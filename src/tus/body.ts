/** The body of a PATCH as a store likes it: it never breaks off, it ends. */

const STALLED_MS = 30_000

export type ArrivingBody = {
  stream: ReadableStream<Uint8Array>
  /** Lets go of a body that nobody reads any more. One that was never read is left for others to take in. */
  release(): void
}

/**
 * A stream that ends where the body does, where its connection is lost, where nothing has come for half a minute, and
 * when the signal says so: what has arrived until then is kept, as tus 1.0 asks for ("The Server SHOULD always
 * attempt to store as much of the received data as possible").
 */
export function arriving(body: ReadableStream<Uint8Array>, signal: AbortSignal): ArrivingBody {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  let stalled: ReturnType<typeof setTimeout> | undefined
  const release = () => {
    clearTimeout(stalled)
    signal.removeEventListener('abort', release)
    // A read that is waiting then ends.
    reader?.cancel().catch(() => {})
  }
  signal.addEventListener('abort', release)
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (signal.aborted) return controller.close()
        reader ??= body.getReader()
        clearTimeout(stalled)
        stalled = setTimeout(release, STALLED_MS)
        const { done, value } = await reader.read().catch(() => ENDED)
        clearTimeout(stalled)
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: release,
    },
    // Nothing is read before the store asks: a refusal leaves the body as it is.
    { highWaterMark: 0 },
  )
  return { stream, release }
}

const ENDED = { done: true, value: undefined } as const
