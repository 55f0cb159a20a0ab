/**
 * Server-sent events, read with `fetch`, which can send a token as `EventSource` cannot (WHATWG HTML, section 9.2.6).
 */
import { type Http, MediaError, problemOf, sleep } from './http.ts'
import type { MediaEvent } from './types.ts'

/** `reset`: missed events are no longer stored, so reload the list. `id`: the position to resume from. */
export type LiveEvent = { id: string } & (MediaEvent | { channel: 'reset' })

export type FollowOptions = {
  signal?: AbortSignal
  /** The `id` of the last event received; the stream begins with the events after it. */
  lastEventId?: string
}

const PAUSE_MS = 500
const LONGEST_PAUSE_MS = 15_000
// Three heartbeats: a connection silent for so long is dead.
const SILENCE_MS = 45_000

/**
 * Yields events and reconnects as often as needed.
 * @throws MediaError when a retry cannot help
 */
export async function* follow(http: Http, { signal, lastEventId }: FollowOptions): AsyncGenerator<LiveEvent, void> {
  let id = lastEventId
  for (let pause = PAUSE_MS; ; pause = Math.min(LONGEST_PAUSE_MS, pause * 2)) {
    const silence = new AbortController()
    const ends = signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal])
    try {
      const headers = id === undefined ? {} : { 'last-event-id': id }
      const response = await http.open('/media/events', { headers, signal: ends })
      if (!response.ok || response.body === null) {
        const text = await response.text()
        const { status } = response
        const problem = problemOf({ status, header: (name) => response.headers.get(name), text })
        if (status < 500 && status !== 429 && status !== 408) throw problem
      } else {
        for await (const { event, data, ...came } of messagesIn(response.body, silence)) {
          id = came.id ?? id
          pause = PAUSE_MS
          if (data === '') continue
          if (event === 'reset') yield { id: id ?? '', channel: 'reset' }
          else yield { id: id ?? '', channel: event as MediaEvent['channel'], payload: JSON.parse(data) }
        }
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof MediaError) throw error
    } finally {
      silence.abort()
    }
    await sleep(pause * (0.5 + Math.random()), signal)
  }
}

type Message = { id: string | undefined; event: string; data: string }

async function* messagesIn(body: ReadableStream<Uint8Array>, silence: AbortController): AsyncGenerator<Message, void> {
  const reader = body
    .pipeThrough<string>(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader()
  let rest = ''
  let message: Message = { id: undefined, event: '', data: '' }
  for (;;) {
    const late = setTimeout(() => silence.abort(), SILENCE_MS)
    const { done, value } = await reader.read().finally(() => clearTimeout(late))
    if (done) return
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line === '') {
        yield message
        message = { id: undefined, event: '', data: '' }
      }
      const [, field = '', text = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? []
      if (field === 'id') message.id = text
      if (field === 'event') message.event = text
      if (field === 'data') message.data += message.data === '' ? text : `\n${text}`
    }
  }
}
