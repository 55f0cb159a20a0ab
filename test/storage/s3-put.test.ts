import { afterAll, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { sendPut } from '../../src/storage/s3/put.ts'

const LARGE = 9 * 1024 * 1024 + 1
const received: { length: string | null; body: Buffer }[] = []
const store = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  async fetch(request) {
    const body = Buffer.from(await request.arrayBuffer())
    received.push({ length: request.headers.get('content-length'), body })
    return new Response('kept', { status: request.url.endsWith('/full') ? 507 : 200 })
  },
})
const silent = createServer(() => {}).listen(0, '127.0.0.1')
afterAll(async () => {
  await store.stop(true)
  silent.close()
})

const put = (url: string, size: number, signal = AbortSignal.timeout(5000)) => {
  const bytes = new Uint8Array(randomBytes(size))
  return { bytes, answer: sendPut({ url, headers: { 'content-type': 'image/jpeg' }, bytes, signal, fresh: false }) }
}

test.each([1000, LARGE])('a body of %i bytes arrives whole, with its length announced', async (size) => {
  const { bytes, answer } = put(new URL('/key', store.url).href, size)
  expect(await answer).toEqual({ ok: true, status: 200, text: 'kept' })
  const last = received.at(-1)
  expect(last?.length).toBe(String(size))
  expect(last?.body.equals(bytes)).toBe(true)
})

test.each([1000, LARGE])('a refusal of %i bytes is told with its status', async (size) => {
  const { answer } = put(new URL('/full', store.url).href, size)
  expect(await answer).toEqual({ ok: false, status: 507, text: 'kept' })
})

test.each([1000, LARGE])('a store that takes no %i bytes is given up with the signal', async (size) => {
  const address = silent.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { answer } = put(`http://127.0.0.1:${address.port}/key`, size, AbortSignal.timeout(200))
  expect(await answer.catch((error) => error.name)).toBe('TimeoutError')
})
