/** What happens to the caller's objects, as server-sent events (WHATWG HTML, section 9.2). */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { LiveEvents, LiveStream } from '../../media/outbox/live-events.ts'
import type { Deps } from '../deps.ts'
import { KNOWN, problems } from '../openapi/schemas.ts'
import { requireCaller } from '../request/context.ts'

const LastEventId = z.object({
  'last-event-id': z
    .string()
    .regex(/^\d{1,15}-\d{1,15}$/, 'expected an id that came with an event')
    .optional()
    .openapi({
      param: { name: 'last-event-id', in: 'header' },
      description: 'The last `id` that came: what has happened since comes first.',
    }),
})

const EventStream = z.string().openapi({
  description: [
    '`event` is the name of the channel, such as `photo:uploaded`; `data` is what is published there, in JSON.',
    'The event `reset` says that what came after `Last-Event-ID` is not known any more: load the list again.',
    'An `id` without an event, at the beginning and after every 15 seconds of silence, is where to resume as well.',
  ].join(' '),
})

const HEADERS = {
  'content-type': 'text/event-stream',
  // Compressed on its way, by Deno's own server too, it would come in lumps.
  'cache-control': 'no-store, no-transform',
  // nginx passes everything on as it comes.
  'x-accel-buffering': 'no',
}

export function eventRoutes(app: OpenAPIHono, { identify, liveEvents }: Deps & { liveEvents: LiveEvents }): void {
  const live = createRoute({
    method: 'get',
    path: '/media/events',
    summary: 'Hear what happens to your own objects, as it happens',
    middleware: requireCaller(identify),
    request: { headers: LastEventId },
    responses: {
      200: {
        description: 'Until the token expires, an hour at most, or the service stops: then resume.',
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

/** Takes the next one when the connection has taken the one before. */
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

/** An id without data is no event but sets what is resumed with; the colon begins a comment. */
function textOf(one: One): string {
  if (one.kind === 'position') return `:\nid: ${one.id}\n\n`
  if (one.kind === 'reset') return `id: ${one.id}\nevent: reset\ndata: {}\n\n`
  return `id: ${one.id}\nevent: ${one.event.channel}\ndata: ${JSON.stringify(one.event.payload)}\n\n`
}
