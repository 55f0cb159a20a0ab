/** Draining: counts running requests, because `deno serve` gives no handle on its server. */

export type Drainable = {
  /** `peer`: the runtime's second argument of each request. */
  fetch: (request: Request, peer: unknown) => Promise<Response>
  /** Resolves when no request is running, or after `ms` milliseconds. */
  idle: (ms: number) => Promise<void>
}

// A handler ends before its last bytes are sent.
const FLUSH_MS = 50

/** Wraps a handler so that its requests can be awaited. */
export function drainable(handle: (request: Request, peer: unknown) => Response | Promise<Response>): Drainable {
  let running = 0
  return {
    async fetch(request, peer) {
      running += 1
      try {
        return await handle(request, peer)
      } finally {
        running -= 1
      }
    },
    async idle(ms) {
      const end = Date.now() + ms
      do await new Promise((resolve) => setTimeout(resolve, FLUSH_MS))
      while (running > 0 && Date.now() < end)
    },
  }
}

/**
 * Keeps `deno serve` from shutting its server down by itself on SIGTERM and SIGINT: readiness would be unreachable, and
 * request bodies in transit become unreadable (2.9.6, denoland/deno#36809). Deno adds its listeners after the main
 * module has run, so call this before that, and after adding the service's own. On other runtimes it does nothing.
 */
export function keepServing(): void {
  const { Deno } = globalThis as { Deno?: object }
  if (Deno !== undefined) Object.assign(Deno, { addSignalListener() {} })
}
