/** Ending without dropping anybody. `deno serve` gives no handle on its server, so requests are counted instead. */

export type Drainable = {
  /** `peer`: what the runtime's server gives with each request. */
  fetch: (request: Request, peer: unknown) => Promise<Response>
  /** Resolves when no request is being answered, or after `ms` milliseconds. */
  idle: (ms: number) => Promise<void>
}

// A handler is done before its last bytes are on the wire.
const FLUSH_MS = 50

/** Wraps a handler so that it can be waited for. */
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
 * Keeps `deno serve` from shutting its server down by itself on SIGTERM and SIGINT: readiness could not be asked any
 * more, and bodies on their way become unreadable (2.9.6, denoland/deno#36809). It adds its listeners when the main
 * module is done, so this is to be called before, and after the service's own. Elsewhere it does nothing.
 */
export function keepServing(): void {
  const { Deno } = globalThis as { Deno?: object }
  if (Deno !== undefined) Object.assign(Deno, { addSignalListener() {} })
}
