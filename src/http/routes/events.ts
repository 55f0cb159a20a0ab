/** Events of the caller's objects, as server-sent events (WHATWG HTML, section 9.2). */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { LiveEvents, LiveStream } from '../../media/outbox/live-events.ts'
import type { Deps } from '../deps.ts'
import { KNOWN, problems } from '../openapi/schemas/problems.ts'
import { requireCaller } from '../request/context.ts'

const LastEventId = z.object({
  'last-event-id': z
    .string()
    .regex(/^\d{1,15}-\d{1,15}$/, 'expected the id of a received event')
    .optional()
    .openapi({
      param: { name: 'last-event-id', in: 'header' },
      description: 'The last `id` received; the stream begins with the events after it.',
    }),
})

const EventStream = z.string().openapi({
  description: [
    '`event` is the name of the channel, such as `photo:uploaded`; `data` is its JSON payload.',
    'The event `reset` means that events after `Last-Event-ID` are no longer stored: reload the list.',
    'An `id` without an event, sent at the start and after 15 seconds of silence, is also a position to resume from.',
  ].join(' '),
})

const HEADERS = {
  'content-type': 'text/event-stream',
  // Without no-transform a proxy, or Deno's own server, compresses the stream and delays events.
  'cache-control': 'no-store, no-transform',
  // Turns off response buffering in nginx.
  'x-accel-buffering': 'no',
}

export function eventRoutes(app: OpenAPIHono, { identify, liveEvents }: Deps & { liveEvents: LiveEvents }): void {
  const live = createRoute({
    method: 'get',
    path: '/media/events',
    summary: 'Stream events of your objects (SSE)',
    middleware: requireCaller(identify),
    request: { headers: LastEventId },
    responses: {
      200: {
        description:
          'The stream ends when the token expires, after one hour, or when the service stops; then reconnect.',
        content: { 'text/event-stream': { schema: EventStream } },
      },
      ...problems(...KNOWN, 'overloaded'),
    },
  })
  app.openapi(live, async (c) => {
    if (c.req.method === 'HEAD') return c.body(null, 200, HEADERS)
    const stream = await liveEvents.open(c.var.caller, c.req.valid('header')['last-event-id'])
    return c.body(bodyOf(stream), 200, HEADERS)
  })
}

/** Pulls the next event when the connection has taken the previous one. */
function bodyOf({ followed, ending }: LiveStream): ReadableStream<Uint8Array<ArrayBuffer>> {
  const iterator = followed[Symbol.asyncIterator]()
  const encoder = new TextEncoder()
  let cancelled = false
  return new ReadableStream(
    {
      start(controller) {
        const close = () => {
          if (!cancelled) controller.close()
        }
        ending.signal.addEventListener('abort', close, { once: true })
        if (ending.signal.aborted) close()
      },
      async pull(controller) {
        const { value } = await iterator.next()
        if (!ending.signal.aborted) controller.enqueue(encoder.encode(textOf(value)))
      },
      cancel() {
        cancelled = true
        ending.abort()
      },
    },
    { highWaterMark: 0 },
  )
}

type One = LiveStream['followed'] extends AsyncIterable<infer T> ? T : never

/** An id without data dispatches no event but sets the position to resume from; the colon begins a comment. */
function textOf(one: One): string {
  if (one.kind === 'position') return `:\nid: ${one.id}\n\n`
  if (one.kind === 'reset') return `id: ${one.id}\nevent: reset\ndata: {}\n\n`
  return `id: ${one.id}\nevent: ${one.event.channel}\ndata: ${JSON.stringify(one.event.payload)}\n\n`
}
