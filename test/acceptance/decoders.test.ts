/** Decoder processes of the service itself, as it is started on either runtime. */
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { answered, type MediaObject, newUser, until } from '../support/http/client.ts'
import { decodersOf, noise } from '../support/pictures/pool.ts'
import { openStage, type Stage } from '../support/process/acceptance.ts'
import { waitUntilGone } from '../support/process/process.ts'

setDefaultTimeout(60_000)

const [killed, stopped] = await Promise.all([openStage(), openStage()])
afterAll(async () => {
  for (const { close } of [killed, stopped]) await close()
})

const picture = new Uint8Array(await noise(800, 800).jpeg().toBuffer())

/** A rendition that takes its decoder some seconds, once it has begun. */
async function beginRendition({ call, upload, service }: Stage) {
  const user = newUser()
  const { id } = await answered<MediaObject>(201, await upload(user, picture))
  const answer = call(`/media/${id}/content?w=640&format=avif&q=95`, { as: user })
  answer.catch(() => {})
  const decoders = await until(() => {
    const found = decodersOf(service.pid)
    expect(found).not.toEqual([])
    return found
  })
  return { answer, decoders }
}

test.if(process.platform === 'linux')('no decoder outlives a service that is killed', async () => {
  const { decoders } = await beginRendition(killed)
  await killed.service.kill()
  await waitUntilGone(decoders, 5000)
})

test('a rendition that was asked for is answered before the service ends, and no decoder outlives it', async () => {
  const { answer, decoders } = await beginRendition(stopped)
  const signalled = Date.now()
  expect(await stopped.service.stop()).toBe(0)
  expect(Date.now() - signalled).toBeLessThan(10_500)
  // On a busy machine it is ended in time, and nobody's fault.
  expect([302, 503]).toContain((await answer).status)
  await waitUntilGone(decoders, 5000)
})
