import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { answered, type MediaObject, newUser, type Presigned } from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, type PartLinks, partsClient } from '../support/http/parts.ts'
import { backend, openStage } from '../support/process/acceptance.ts'
import { createFolder } from '../support/services/folder.ts'
import { type Session, startSession } from '../support/services/session.ts'

setDefaultTimeout(120_000)

const ends: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end()
}, 60_000)

// An empty value counts as absent.
const NO_KEY = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }
const keyOf = ({ accessKeyId, secretAccessKey, sessionToken }: Session) => ({
  AWS_ACCESS_KEY_ID: accessKeyId,
  AWS_SECRET_ACCESS_KEY: secretAccessKey,
  AWS_SESSION_TOKEN: sessionToken,
})

/** A service with these settings stores an object over a link and hands it out again. Returns both links' ends. */
async function useStore(settings: Record<string, string>): Promise<Date[]> {
  const stage = await openStage({ UPLOAD_URL_SECONDS: '3600', SIGNED_URL_SECONDS: '7200', ...settings })
  ends.push(stage.close)
  const user = newUser()
  const bytes = await jpegOf(MiB)
  const json = { filename: 'a.jpg', fileType: 'image/jpeg', size: bytes.length }
  const link = await answered<Presigned>(200, await stage.call('/media/presign', { as: user, method: 'POST', json }))
  expect((await fetch(link.uploadUrl, { method: 'PUT', headers: link.headers, body: bytes })).status).toBe(200)
  const { id } = await answered<MediaObject>(200, await stage.complete(user, link.id))
  const got = await answered<MediaObject & { signedUrl: string; signedUrlExpiresAt: string }>(
    200,
    await stage.get(user, id),
  )
  const read = await fetch(got.signedUrl)
  expect(Buffer.from(await read.arrayBuffer()).equals(Buffer.from(bytes))).toBe(true)
  const { begin } = partsClient(stage)
  const upload = await answered<Multipart>(200, await begin(user, { size: 9 * MiB }))
  const asked = { as: user, method: 'POST', json: { partNumbers: [1] } }
  const parts = await answered<PartLinks>(200, await stage.call(`/media/${upload.id}/parts`, asked))
  return [link.expiresAt, got.signedUrlExpiresAt, parts.expiresAt].map((time) => new Date(time))
}

describe.skipIf(backend === 'embedded')('the key of the store', () => {
  test('may be a temporary one, with its session token', async () => {
    await useStore(keyOf(await startSession(900)))
  })

  test('may come from a profile', async () => {
    const { path, remove } = await createFolder()
    ends.push(remove)
    const { accessKeyId, secretAccessKey, sessionToken } = await startSession(900)
    const file = join(path, 'credentials')
    const lines = [`aws_access_key_id=${accessKeyId}`, `aws_secret_access_key=${secretAccessKey}`]
    await writeFile(file, ['[media]', ...lines, `aws_session_token=${sessionToken}`, ''].join('\n'))
    await useStore({ ...NO_KEY, AWS_PROFILE: 'media', AWS_SHARED_CREDENTIALS_FILE: file })
  })

  test('may come from the container, and no link says that it lives longer than the session', async () => {
    const session = await startSession(1800)
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = keyOf(session)
    const container = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () =>
        Response.json({
          AccessKeyId: AWS_ACCESS_KEY_ID,
          SecretAccessKey: AWS_SECRET_ACCESS_KEY,
          Token: AWS_SESSION_TOKEN,
          Expiration: session.expiration.toISOString(),
        }),
    })
    ends.push(() => container.stop(true))
    const expiries = await useStore({ ...NO_KEY, AWS_CONTAINER_CREDENTIALS_FULL_URI: container.url.href })
    for (const expiry of expiries) expect(expiry.getTime()).toBeLessThanOrEqual(session.expiration.getTime())
  })
})
