import { describe, expect, jest, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { Hono } from 'hono'
import { drainUnread, jsonOnly, readBody } from '../../src/http/body/read.ts'
import { problemResponse, toProblem } from '../../src/http/request/problem-response.ts'
import { fileTooLarge, Problem } from '../../src/problem.ts'
import { cut, requestOf } from '../support/http/bodies.ts'
import { refusal } from '../support/http/refusal.ts'

const LIMIT = 1000
const limits = { limit: LIMIT, tooLarge: () => fileTooLarge(LIMIT), contended: () => false }
const TOO_LARGE = { code: 'file_too_large', kind: 'refused-bytes' }

describe('readBody', () => {
  test('gives all of the body, however it comes, up to the limit exactly', async () => {
    const bodies = fc.record({
      bytes: fc.uint8Array({ maxLength: LIMIT }),
      places: fc.array(fc.nat(), { maxLength: 9 }),
    })
    await fc.assert(
      fc.asyncProperty(bodies, fc.boolean(), async ({ bytes, places }, announced) => {
        const headers: Record<string, string> = announced ? { 'content-length': String(bytes.length) } : {}
        const body = await readBody(requestOf(cut(bytes, places), headers), limits)
        expect(Buffer.compare(body, bytes)).toBe(0)
      }),
      { numRuns: 300 },
    )
    expect(await readBody(requestOf(randomBytes(LIMIT)), limits)).toHaveLength(LIMIT)
  })

  test('gives nothing for a request without a body', async () => {
    const request = new Request('http://service.test/', { method: 'POST' })
    expect(await readBody(request, limits)).toHaveLength(0)
  })

  test('refuses what announces too much before anything of it is read', async () => {
    let pulled = 0
    const body = new ReadableStream({ pull: () => void pulled++ }, { highWaterMark: 0 })
    const headers = { 'content-length': String(LIMIT + 1) }
    const request = new Request('http://service.test/', { method: 'POST', headers, body })
    expect(await refusal(readBody(request, limits))).toMatchObject(TOO_LARGE)
    expect(pulled).toBe(0)
  })

  test('refuses what turns out to be too much, and takes in the rest so that the answer can be read', async () => {
    const sent = [randomBytes(LIMIT), randomBytes(1), randomBytes(5000)]
    let left = sent.length
    const body = new ReadableStream({
      pull(controller) {
        const next = sent[sent.length - left--]
        if (next === undefined) controller.close()
        else controller.enqueue(next)
      },
    })
    const request = new Request('http://service.test/', { method: 'POST', body })
    expect(await refusal(readBody(request, limits))).toMatchObject(TOO_LARGE)
    expect(left).toBeLessThan(0)
  })

  test('takes no memory for a length that is only announced', async () => {
    const announced = 50_000_000
    const some = { ...limits, limit: announced }
    Bun.gc(true)
    const before = process.memoryUsage().external
    const bodies = Array.from({ length: 20 }, () => {
      let end = () => {}
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(randomBytes(3))
          end = () => controller.close()
        },
      })
      const headers = { 'content-length': String(announced) }
      const request = new Request('http://service.test/', { method: 'POST', headers, body })
      return { reading: refusal(readBody(request, some)), end: () => end() }
    })
    await Bun.sleep(20)
    expect(process.memoryUsage().external - before).toBeLessThan(announced)
    for (const { end } of bodies) end()
    for (const { reading } of bodies) expect(await reading).toMatchObject({ code: 'request_invalid' })
  })

  test('refuses a body that breaks off, or that is shorter than it said', async () => {
    const broken = new ReadableStream({
      start(controller) {
        controller.enqueue(randomBytes(10))
        controller.error(new Error('the client is gone'))
      },
    })
    const request = new Request('http://service.test/', { method: 'POST', body: broken })
    expect(await refusal(readBody(request, limits))).toMatchObject({ code: 'request_invalid' })
    const short = requestOf(randomBytes(10), { 'content-length': '11' })
    expect(await refusal(readBody(short, limits))).toMatchObject({ code: 'request_invalid' })
  })

  test('ends a slow body while others wait for its memory, and lets it be while nobody does', async () => {
    jest.useFakeTimers()
    try {
      const [alone, inTheWay] = [slowBody(), slowBody()]
      const patient = readBody(alone.request, limits)
      const pressed = refusal(readBody(inTheWay.request, { ...limits, contended: () => true }))
      jest.advanceTimersByTime(5001)
      expect(await pressed).toMatchObject({ code: 'request_timeout', kind: 'invalid-request' })
      alone.end()
      expect(await patient).toHaveLength(10)
    } finally {
      jest.useRealTimers()
    }
  })

  test('ends a body that stalls for half a minute, whether or not others wait', async () => {
    jest.useFakeTimers()
    try {
      const reading = refusal(readBody(slowBody().request, limits))
      for (let seconds = 0; seconds < 120; seconds++) {
        await Promise.resolve()
        jest.advanceTimersByTime(1000)
      }
      expect(await reading).toMatchObject({ code: 'request_timeout', kind: 'invalid-request' })
    } finally {
      jest.useRealTimers()
    }
  })
})

describe('a JSON body', () => {
  const app = newApp()
  const post = (type: string | undefined, body: BodyInit, headers: Record<string, string> = {}) =>
    app.request('/json', {
      method: 'POST',
      body,
      headers: type === undefined ? headers : { ...headers, 'content-type': type },
    })
  const codeOf = async (answer: Response) => [answer.status, (await answer.json()).code]

  test.each(['application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON'])(
    'may come as %s',
    async (type) => {
      expect(await (await post(type, '{"a":1}')).json()).toEqual({ a: 1 })
    },
  )

  test.each(['text/plain', 'application/jsonp', 'application/x-www-form-urlencoded', 'multipart/form-data', ''])(
    'may not come as %j',
    async (type) => {
      expect(await codeOf(await post(type, '{}'))).toEqual([415, 'content_type_unsupported'])
    },
  )

  test('has at most 64 KiB, whether it says so or not', async () => {
    const json = (length: number) => JSON.stringify('x'.repeat(length - 2))
    const type = 'application/json'
    expect((await post(type, json(65_536))).status).toBe(200)
    expect(await codeOf(await post(type, json(65_537)))).toEqual([413, 'body_too_large'])
    const chunked = requestOf(new TextEncoder().encode(json(65_537)), { 'content-type': type })
    expect(await codeOf(await app.request(new Request('http://service.test/json', chunked)))).toEqual([
      413,
      'body_too_large',
    ])
  })
})

describe('a request that is refused before its body is read', () => {
  test('has its body taken in all the same, so that the client gets to read the answer', async () => {
    let left = 20
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left-- > 0) controller.enqueue(randomBytes(10_000))
        else controller.close()
      },
    })
    const request = new Request('http://service.test/refused', { method: 'POST', body })
    expect((await newApp().request(request)).status).toBe(403)
    expect(left).toBe(-1)
  })

  test('is cut off when its body has no end', async () => {
    let cancelled = false
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(4 * 1024 * 1024)),
      cancel() {
        cancelled = true
      },
    })
    const request = new Request('http://service.test/refused', { method: 'POST', body })
    expect((await newApp().request(request)).status).toBe(403)
    expect(cancelled).toBe(true)
  })
})

describe('a stream', () => {
  /** Whether `body` is asked of a request while it is answered. */
  const streams = async (path: string, init: RequestInit) => {
    const request = new Request(`http://service.test${path}`, init)
    let asked = 0
    const { body } = request
    Object.defineProperty(request, 'body', {
      get() {
        asked += 1
        return body
      },
    })
    await newApp().request(request)
    return asked > 0
  }
  const json = JSON.stringify({ a: 1 })
  const headers = { 'content-type': 'application/json', 'content-length': String(json.length) }

  test.each(['GET', 'HEAD', 'DELETE'])('is not made of the body of a %s that has none', async (method) => {
    expect(await streams('/refused', { method })).toBe(false)
    expect(await streams('/refused', { method, headers: { 'content-length': '0' } })).toBe(false)
  })

  test('is not made of a JSON body whose length is announced', async () => {
    expect(await streams('/json', { method: 'POST', headers, body: json })).toBe(false)
  })

  test('is made of a body that nobody has read, whatever the method', async () => {
    expect(await streams('/refused', { method: 'POST', headers, body: json })).toBe(true)
    expect(await streams('/refused', { method: 'DELETE', headers, body: json })).toBe(true)
    const chunked = { 'transfer-encoding': 'chunked' }
    expect(await streams('/refused', { method: 'DELETE', headers: chunked, body: json })).toBe(true)
    expect(await streams('/refused', { method: 'POST', body: json })).toBe(true)
  })
})

/** A request of which ten bytes have come. */
function slowBody(): { request: Request; end: () => void } {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  writer.write(randomBytes(10)).catch(() => {})
  const request = new Request('http://service.test/', { method: 'POST', body: readable })
  return { request, end: () => void writer.close() }
}

function newApp(): Hono {
  const app = new Hono()
  app.onError((error, c) => problemResponse(c, toProblem(error)))
  app.use(drainUnread())
  app.post('/json', jsonOnly(), async (c) => c.json(await c.req.json()))
  app.post('/refused', () => {
    throw new Problem('forbidden', 'No.')
  })
  return app
}
