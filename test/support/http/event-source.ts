import { expect } from 'bun:test'
import { until } from './client.ts'

/** A block of a stream: an event, or an id alone; `data` is parsed. */
export type Block = { id?: string; event?: string; data?: Record<string, unknown> }

export type EventSource = {
  status: number
  headers: Headers
  /** Every block that has come so far, comments left out. */
  blocks: Block[]
  /** Those that are events, without what was published twice. */
  events(): Block[]
  /** What has come so far, as it came. */
  text(): string
  /** Whether the service has ended it. */
  ended(): boolean
  /** Resolves when it has ended, however. */
  over: Promise<void>
  close(): void
}

/** Listens at `GET /media/events`, as the specification of server-sent events has it for what the service sends. */
export async function listen(baseUrl: string, headers: Record<string, string>): Promise<EventSource> {
  const ending = new AbortController()
  const response = await fetch(`${baseUrl}/media/events`, { headers, signal: ending.signal })
  const blocks: Block[] = []
  const chunks: string[] = []
  let rest = ''
  let ended = false
  const take = (chunk: string) => {
    chunks.push(chunk)
    const texts = (rest + chunk).split('\n\n')
    rest = texts.pop() ?? ''
    for (const text of texts) {
      const block = parse(text)
      if (Object.keys(block).length > 0) blocks.push(block)
    }
  }
  const over = (async () => {
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) take(chunk)
    ended = true
  })().catch(() => {})
  return {
    status: response.status,
    headers: response.headers,
    blocks,
    events: () => withoutRepeats(blocks.filter(({ event }) => event !== undefined)),
    text: () => chunks.join(''),
    ended: () => ended,
    over,
    close: () => ending.abort(),
  }
}

/** The events of a stream, once there are as many. */
export function eventsOf(source: EventSource, count: number, milliseconds?: number): Promise<Block[]> {
  return until(() => {
    expect(source.events()).toHaveLength(count)
    return source.events()
  }, milliseconds)
}

/** What happens to an object while an event of it is being published has that event published once more. */
function withoutRepeats(events: Block[]): Block[] {
  const seen = new Set<unknown>()
  return events.filter(({ data }) => {
    const repeated = data?.eventId !== undefined && seen.has(data.eventId)
    seen.add(data?.eventId)
    return !repeated
  })
}

function parse(text: string): Block {
  const block: Block = {}
  for (const line of text.split('\n')) {
    const [, name, value = ''] = /^(\w*): ?(.*)$/.exec(line) ?? []
    if (name === 'data') block.data = JSON.parse(value)
    else if (name === 'id' || name === 'event') block[name] = value
    else if (name !== '') throw new Error(`not a line of server-sent events: ${line}`)
  }
  return block
}
