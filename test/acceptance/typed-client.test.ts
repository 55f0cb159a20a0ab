import { afterAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { createMediaClient, type LiveEvent, type MediaClient, MediaError } from '../../src/client/client.ts'
import { newUser, tokenFor, until } from '../support/http/client.ts'
import { jpegOf } from '../support/http/parts.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage, runtime } from '../support/process/acceptance.ts'
import { startProxy } from '../support/process/proxy.ts'
import { commandFor } from '../support/process/service.ts'
import { fencedBlocks } from '../support/readme.ts'
import { repository } from '../support/repository.ts'
import { createFolder } from '../support/services/folder.ts'

const MB = 1_000_000
const stage = await openStage({ MAX_UPLOAD_BYTES: String(30 * MB) })
afterAll(stage.close)
const { inside } = stage

const rocket = new File([await readCorpus('accept/rocket.jpg')], 'rocket.jpg', { type: 'image/jpeg' })
const large = (size: number) => jpegOf(size).then((bytes) => new File([bytes], 'large.jpg', { type: 'image/jpeg' }))

type Fault = (request: string, count: number) => 'before' | 'after' | Response | undefined

/** A client of a new user; what it sends is written down, and may be broken before or after it arrives. */
async function newClient(fault: Fault = () => undefined) {
  const user = newUser()
  const requests: string[] = []
  const client = createMediaClient({
    baseUrl: stage.baseUrl,
    token: () => tokenFor(user),
    async fetch(url, init) {
      const request = `${init.method ?? 'GET'} ${nameOf(url)}`
      requests.push(request)
      const broken = fault(request, requests.filter((one) => one === request).length)
      if (broken instanceof Response) return broken
      if (broken === 'before') throw new TypeError('broken before')
      const response = await fetch(url, init)
      if (broken === 'after') throw new TypeError('broken after')
      return response
    },
  })
  return { client, user, requests }
}

/** Ids and stores have names of their own in each run. */
function nameOf(url: string): string {
  const { pathname, searchParams, origin } = new URL(url)
  if (searchParams.has('partNumber')) return 'part'
  if (origin !== stage.baseUrl || pathname.startsWith('/files/')) return 'store'
  return pathname.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, ':id')
}

async function expectStored(client: MediaClient, { id }: { id: string }, file: File): Promise<void> {
  const { signedUrl, sizeBytes, originalName, status } = await client.get(id)
  expect({ sizeBytes, originalName, status }).toEqual({
    sizeBytes: file.size,
    originalName: file.name,
    status: 'active',
  })
  const stored = await fetch(signedUrl).then((response) => response.bytes())
  expect(Buffer.compare(stored, await file.bytes())).toBe(0)
}

describe('a file goes the way that suits its size', () => {
  test('a small one through the service', async () => {
    const { client, requests } = await newClient()
    const object = await client.upload(rocket, { visibility: 'public' })
    expect(object).toMatchObject({
      mimeType: 'image/jpeg',
      visibility: 'public',
      metadata: { width: 640, height: 427 },
    })
    expect(requests).toEqual(['POST /media/upload'])
    await expectStored(client, object, rocket)
  })

  test('a larger one straight to the store', async () => {
    const { client, requests } = await newClient()
    const file = await large(6 * MB)
    const object = await client.upload(file)
    expect(requests).toEqual(['POST /media/presign', 'PUT store', 'POST /media/:id/complete'])
    await expectStored(client, object, file)
  })

  test('a large one in parts, where the store has parts', async () => {
    const { client, requests } = await newClient()
    const file = await large(40 * MB)
    const progress: number[] = []
    const object = await client.upload(file, { onProgress: ({ loaded }) => progress.push(loaded) })
    const parts = requests.filter((request) => request === 'PUT part').length
    expect(parts).toBe(backend === 'real' ? 5 : 0)
    expect(requests).toContain(backend === 'real' ? 'GET /media/:id/parts' : 'PUT store')
    expect(progress).toEqual(progress.toSorted((a, b) => a - b))
    expect(progress.at(-1)).toBe(file.size)
    await expectStored(client, object, file)
  })

  test('one without a type through the service, which finds it out', async () => {
    const { client } = await newClient()
    const file = new File([await readCorpus('accept/rocket.jpg')], 'rocket')
    expect(await client.upload(file)).toMatchObject({ mimeType: 'image/jpeg', originalName: 'rocket' })
  })
})

describe('a call that breaks is tried again, and makes nothing twice', () => {
  test.each(['before', 'after'] as const)(
    'each request, once, %s it has arrived',
    async (when) => {
      for (const file of [rocket, await large(6 * MB)]) {
        const { client, requests } = await newClient((_, count) => (count === 1 ? when : undefined))
        const object = await client.upload(file)
        expect(new Set(requests.map((one) => requests.filter((other) => other === one).length))).toEqual(new Set([2]))
        const found = await Array.fromAsync(client.list())
        expect(found.map(({ id }) => id)).toEqual([object.id])
        await client.remove(object.id)
        expect(await client.restore(object.id)).toMatchObject({ id: object.id, status: 'active' })
        expect(await client.update(object.id, { originalName: 'b.jpg' })).toMatchObject({ originalName: 'b.jpg' })
      }
    },
    60_000,
  )

  test('after the pause that the service asks for', async () => {
    const busy = () => new Response('{"code":"overloaded"}', { status: 503, headers: { 'retry-after': '1' } })
    const { client } = await newClient((_, count) => (count === 1 ? busy() : undefined))
    const start = performance.now()
    await client.upload(rocket)
    expect(performance.now() - start).toBeGreaterThan(1000)
  })

  test('a connection that is gone for seconds, in the middle of a file', async () => {
    if (backend !== 'real') return
    const proxy = await startProxy(stage.env.S3_ENDPOINT ?? '')
    const own = await openStage({ S3_PUBLIC_ENDPOINT: proxy.url })
    try {
      const client = createMediaClient({ baseUrl: own.baseUrl, token: await tokenFor(newUser()) })
      const file = await large(40 * MB)
      const uploading = client.upload(file)
      await proxy.refuseAfter(20 * MB)
      await Bun.sleep(2000)
      await proxy.pass()
      await expectStored(client, await uploading, file)
      // What had arrived as a whole part was not sent again.
      expect(proxy.received()).toBeLessThan(75 * MB)
    } finally {
      await own.close()
      await proxy.close()
    }
  }, 60_000)
})

test('another process with the same key goes on where the first one was', async () => {
  if (backend !== 'real') return
  const file = await large(40 * MB)
  const options = { idempotencyKey: crypto.randomUUID() }
  const user = newUser()
  let parts = 0
  const baseUrl = stage.baseUrl
  const token = () => tokenFor(user)
  const dies = createMediaClient({
    baseUrl,
    token,
    fetch: (url, init) => {
      if (!new URL(url).searchParams.has('partNumber')) return fetch(url, init)
      parts += 1
      return parts > 3 ? Promise.resolve(new Response(null, { status: 400 })) : fetch(url, init)
    },
  })
  expect(await dies.upload(file, options).catch((error) => error)).toBeInstanceOf(MediaError)
  let sent = 0
  const goesOn = createMediaClient({
    baseUrl,
    token,
    fetch(url, init) {
      if (new URL(url).searchParams.has('partNumber')) sent += 1
      return fetch(url, init)
    },
  })
  await expectStored(goesOn, await goesOn.upload(file, options), file)
  expect(sent).toBe(2)
})

test('an upload that is complete is the same object for the same key, and a refusal once that is deleted', async () => {
  for (const file of [rocket, await large(6 * MB), await large(40 * MB)]) {
    const { client, requests } = await newClient()
    const options = { idempotencyKey: crypto.randomUUID() }
    const { id } = await client.upload(file, options)
    const sent = requests.length
    expect(await client.upload(file, options)).toMatchObject({ id, status: 'active' })
    expect(requests.slice(sent).filter((request) => request.startsWith('PUT'))).toEqual([])
    await client.remove(id)
    const refused = await client.upload(file, options).catch((error) => error)
    expect(refused).toMatchObject({ code: 'state_conflict', status: 409, id })
  }
}, 60_000)

test('an upload that is stopped leaves nothing', async () => {
  for (const size of [6 * MB, 40 * MB]) {
    const stop = new AbortController()
    const { client, requests, user } = await newClient((request) => {
      if (request.startsWith('PUT')) stop.abort(new Error('enough'))
      return undefined
    })
    const file = await large(size)
    await expect(client.upload(file, { signal: stop.signal })).rejects.toThrow('enough')
    expect(requests.at(-1)).toBe('DELETE /media/:id/upload')
    expect(await Array.fromAsync(client.list())).toEqual([])
    if (inside) expect((await inside.rowsOf(user)).map(({ status }) => status)).toEqual(['purging'])
  }
})

describe('errors', () => {
  test('carry the code, the fields and the id of the request', async () => {
    const { client } = await newClient()
    const refused = await client.get(crypto.randomUUID()).catch((error) => error)
    expect(refused).toBeInstanceOf(MediaError)
    expect(refused).toMatchObject({ code: 'not_found', status: 404, requestId: expect.any(String) })
    const wrong = await client.update(crypto.randomUUID(), { originalName: '' }).catch((error) => error)
    expect(wrong).toMatchObject({ code: 'request_invalid', errors: [{ field: 'originalName' }] })
    const text = new File(['no picture'], 'a.jpg', { type: 'image/jpeg' })
    expect(await client.upload(text).catch((error) => error)).toMatchObject({ code: 'media_type_unsupported' })
    const stranger = createMediaClient({ baseUrl: stage.baseUrl })
    expect(await stranger.usage().catch((error) => error)).toMatchObject({ code: 'token_missing', status: 401 })
  })
})

test('a list is read to its end, page by page, with renditions', async () => {
  const { client, requests } = await newClient()
  const ids: string[] = []
  for (let i = 0; i < 5; i += 1) ids.unshift((await client.upload(rocket)).id)
  const found = await Array.fromAsync(client.list({ pageSize: 2, type: 'image/*', renditions: [320] }))
  expect(found.map(({ id }) => id)).toEqual(ids)
  expect(found[0]?.renditions).toMatchObject([{ width: 320, height: 214 }])
  expect(requests.filter((request) => request === 'GET /media').length).toBe(3)
  expect(await client.usage()).toMatchObject({ objects: 5 })
})

test('events come as they happen, over as many connections as it takes', async () => {
  const user = newUser()
  const proxy = await startProxy(stage.baseUrl)
  const ending = new AbortController()
  try {
    const client = createMediaClient({ baseUrl: proxy.url, token: () => tokenFor(user) })
    const heard: LiveEvent[] = []
    const following = (async () => {
      for await (const event of client.events({ signal: ending.signal })) heard.push(event)
    })().catch((error) => error)
    // Whatever is heard of first, the stream is there by then.
    await until(async () => {
      await client.remove((await client.upload(rocket)).id)
      expect(heard.length).toBeGreaterThan(0)
    })
    proxy.cut()
    const { id } = await client.upload(rocket)
    await client.update(id, { originalName: 'b.jpg' })
    await client.remove(id)
    await until(() => {
      const ofIt = heard.flatMap((event) => (event.channel !== 'reset' && event.payload.id === id ? [event] : []))
      // A change whose answer was cut off was made twice.
      expect([...new Set(ofIt.map(({ channel }) => channel))]).toEqual([
        'photo:uploaded',
        'photo:updated',
        'photo:deleted',
      ])
      // In order and without a gap; an event whose announcement was not confirmed in time comes again.
      const sequence = ofIt.map(({ payload }) => payload.seq)
      expect(sequence).toEqual(sequence.toSorted((one, other) => one - other))
      expect([...new Set(sequence)]).toEqual([...new Set(sequence)].map((_, index) => index + 1))
    }, 15_000)
    expect(new Set(heard.map((event) => event.id)).size).toBe(heard.length)
    // From another place in the past.
    const again = createMediaClient({ baseUrl: stage.baseUrl, token: () => tokenFor(user) })
    for await (const event of again.events({ lastEventId: heard.at(-2)?.id ?? '' })) {
      expect(event).toEqual(heard.at(-1)!)
      break
    }
    ending.abort(new Error('enough'))
    expect(await following).toMatchObject({ message: 'enough' })
    const stranger = createMediaClient({ baseUrl: stage.baseUrl }).events()
    await expect(stranger.next()).rejects.toMatchObject({ code: 'token_missing' })
  } finally {
    ending.abort()
    await proxy.close()
  }
}, 40_000)

test('the example of the client in the README does what it says', async () => {
  const [example = ''] = (await fencedBlocks('js')).filter((block) => block.includes('createMediaClient'))
  const user = newUser()
  const folder = await createFolder()
  try {
    const source = new URL('../../src/client/client.ts', import.meta.url).pathname
    const given = `import { readFileSync } from 'node:fs'
const file = new File([readFileSync('${join(repository, 'test/corpus/accept/rocket.jpg')}')], 'rocket.jpg')
const token = '${await tokenFor(user)}'
const show = (...shown) => console.log(JSON.stringify(shown))
`
    const program =
      given + example.replace('@media-service/client', source).replace('https://api.example.com', stage.baseUrl)
    const file = join(folder.path, 'program.ts')
    await Bun.write(file, program)
    const [command = ''] = commandFor(runtime, 0)
    const run = runtime === 'bun' ? [command, file] : [command, 'run', '--allow-all', '--no-lock', file]
    const out = await Bun.$`${run}`
      .cwd(repository)
      .env({ PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' })
      .text()
    const [progress, listed] = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(progress).toEqual([1])
    expect(listed).toMatchObject(['rocket.jpg', [{ width: 320 }, { width: 640 }]])
  } finally {
    await folder.remove()
  }
})
