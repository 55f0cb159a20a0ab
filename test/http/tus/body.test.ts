import { expect, test } from 'bun:test'
import { arriving } from '../../../src/http/tus/body.ts'

/** A body that comes in pieces of 1 KiB, ten a second, for as long as it is read. */
function dripping() {
  let timer: ReturnType<typeof setInterval> | undefined
  return new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(() => controller.enqueue(new Uint8Array(1024)), 100)
    },
    cancel: () => clearInterval(timer),
  })
}

const never = new AbortController().signal

async function lengthOf(stream: ReadableStream<Uint8Array>): Promise<number> {
  let length = 0
  for await (const piece of stream) length += piece.length
  return length
}

test('a body that is slow while others wait ends with what has come, and goes on while nobody does', async () => {
  const patient = arriving(dripping(), never, () => false)
  let patientEnded = false
  const reading = lengthOf(patient.stream).finally(() => {
    patientEnded = true
  })
  const slow = arriving(dripping(), never, () => true)
  // Less than 64 KiB a second over five seconds.
  const length = await lengthOf(slow.stream)
  expect(length).toBeGreaterThan(0)
  expect(length).toBeLessThan(5 * 64 * 1024)
  expect(patientEnded).toBe(false)
  patient.release()
  await reading
}, 30_000)

test('a body that is silent while others wait ends', async () => {
  const silent = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => {}) })
  expect(await lengthOf(arriving(silent, never, () => true).stream)).toBe(0)
}, 30_000)

test('a body that comes at a fair pace is whole, whether or not others wait', async () => {
  const body = new Blob([new Uint8Array(3_000_000)]).stream()
  expect(await lengthOf(arriving(body, never, () => true).stream)).toBe(3_000_000)
})
