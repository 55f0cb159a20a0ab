/** Answers longer than what the server sends with one system call. */
import type { Context, TypedResponse } from 'hono'

/**
 * What `c.json(value, 200)` answers, for values that often take more than 16 KiB. That much Bun (1.4.5) collects before
 * it sends; an answer that was waited for and does not fit goes out with a system call for each name and value of its
 * headers, 22 in all, which cost more than making it. A stream goes out with two.
 */
export function longJson<T>(c: Context, value: T): TypedResponse<T, 200, 'json'> {
  const bytes = new TextEncoder().encode(JSON.stringify(value))
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes)
      controller.close()
    },
  })
  const answer = c.body(body, 200, { 'content-type': 'application/json', 'content-length': String(bytes.length) })
  // Beside the answer this type has but names for its content.
  return answer as typeof answer & TypedResponse<T, 200, 'json'>
}
