import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { haveChromium, launchChromium } from '../support/browser/chromium.ts'
import type { State } from '../support/browser/page.ts'
import { type MediaObject, newUser, tokenFor, until } from '../support/http/client.ts'
import { jpegOf, MiB, uploadsUnderWay } from '../support/http/parts.ts'
import { openStage, type Stage } from '../support/process/acceptance.ts'
import { startProxy, type TcpProxy } from '../support/process/proxy.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { haveServices, services } from '../support/services/shared.ts'

const CUT_MS = 5000

describe.skipIf(!(haveChromium() && (await haveServices())))('Uppy in a browser', () => {
  let folder: Folder
  let pages: ReturnType<typeof Bun.serve>
  let store: TcpProxy
  let stage: Stage
  let browser: Browser
  let context: BrowserContext
  let page: Page
  beforeAll(async () => {
    folder = await createFolder()
    await Bun.build({
      entrypoints: [join(repository, 'test/support/browser/page.ts')],
      outdir: folder.path,
      target: 'browser',
    })
    pages = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: servePage })
    store = await startProxy((await services()).s3.endpoint)
    stage = await openStage({ S3_PUBLIC_ENDPOINT: store.url, CORS_ORIGINS: pages.url.origin })
    browser = await launchChromium()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await stage?.close()
    await store?.close()
    await pages?.stop(true)
    await folder?.remove()
  }, 60_000)
  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    await page.goto(pages.url.href)
  })
  afterEach(() => context.close())

  function servePage({ url }: Request): Response {
    const { pathname } = new URL(url)
    if (pathname === '/page.js') return new Response(Bun.file(join(folder.path, 'page.js')))
    if (pathname !== '/') return new Response(null, { status: 204 })
    const html = '<!doctype html><title>Upload</title><input type="file"><script type="module" src="/page.js"></script>'
    return new Response(html, { headers: { 'content-type': 'text/html' } })
  }

  /** Begins to upload a file as a person does who picks it. */
  async function start(user: string, bytes: Uint8Array, multipartFrom: number): Promise<void> {
    const path = join(folder.path, `${randomBytes(4).toString('hex')}.jpg`)
    await Bun.write(path, bytes)
    await page.setInputFiles('input', path)
    const options = { api: `${stage.baseUrl}/media`, token: await tokenFor(user), multipartFrom }
    await page.evaluate((given) => window.media.start(given), options)
  }
  const state = (): Promise<State> => page.evaluate(() => window.media.state())
  const completed = () =>
    until(async () => {
      const found = await state()
      const [object] = found.completed
      if (object === undefined) throw new Error(`not completed: ${JSON.stringify(found)}`)
      return object as MediaObject
    }, 30_000)
  const expectStored = async ({ id, key }: MediaObject, bytes: Uint8Array) => {
    expect((await stage.inside?.rowOf(id))?.status).toBe('active')
    const stored = await stage.inside?.storedUnder(key)
    expect(Buffer.from(stored?.bytes ?? []).equals(bytes)).toBe(true)
  }

  test('uploads a small file in one request, which becomes an active object', async () => {
    const user = newUser()
    const bytes = await jpegOf(300_000)
    await start(user, bytes, 100 * MiB)
    const object = await completed()
    expect(object).toMatchObject({ userId: user, mimeType: 'image/jpeg', sizeBytes: 300_000, status: 'active' })
    expect(object.originalName).toEndWith('.jpg')
    expect(await stage.inside?.rowOf(object.id)).toMatchObject({ upload_id: null, event_seq: 1 })
    await expectStored(object, bytes)
  }, 60_000)

  test('resumes 60 MB in parts after the connection to the store was gone for five seconds', async () => {
    const user = newUser()
    const bytes = await jpegOf(60_000_000)
    const before = store.received()
    const cut = store.refuseAfter(30_000_000)
    await start(user, bytes, MiB)
    await cut
    await Bun.sleep(CUT_MS)
    const halfway = await state()
    expect(halfway.failed).toHaveLength(1)
    expect(halfway.completed).toEqual([])
    const [row] = (await stage.inside?.rowsOf(user)) ?? []
    expect(row?.status).toBe('pending')
    await store.pass()
    await page.evaluate(() => window.media.retry())
    const object = await completed()
    expect(object).toMatchObject({ id: row?.id, sizeBytes: 60_000_000, status: 'active' })
    await expectStored(object, bytes)
    // What had arrived was not sent again: at most the part that was cut, and what one request more takes.
    expect(store.received() - before).toBeLessThan(60_000_000 + 6 * MiB)
    expect(await uploadsUnderWay(stage.env.S3_BUCKET ?? '', object.key)).toEqual([])
    expect(await stage.inside?.rowsOf(user)).toHaveLength(1)
    expect((await stage.inside?.rowOf(object.id))?.event_seq).toBe(1)
  }, 120_000)

  test('completes an upload whose completion it has not heard of', async () => {
    const user = newUser()
    const bytes = await jpegOf(11 * MiB)
    let lost = 0
    await page.route(/\/upload\?uploadId=/, async (route) => {
      if (route.request().method() !== 'POST' || lost > 0) return route.continue()
      lost += 1
      expect((await route.fetch()).status()).toBe(200)
      await route.abort('connectionreset')
    })
    await start(user, bytes, MiB)
    const object = await completed()
    expect(lost).toBe(1)
    await expectStored(object, bytes)
    expect((await stage.inside?.rowOf(object.id))?.event_seq).toBe(1)
  }, 60_000)

  test('leaves nothing of an upload that the person cancels', async () => {
    const user = newUser()
    const bytes = await jpegOf(30 * MiB)
    const cut = store.refuseAfter(12 * MiB)
    await start(user, bytes, MiB)
    await cut
    await until(async () => expect((await state()).failed).toHaveLength(1))
    await store.pass()
    await page.evaluate(() => {
      window.media.retry()
      window.media.cancel()
    })
    const [row] = (await stage.inside?.rowsOf(user)) ?? []
    await until(async () => expect((await stage.inside?.rowOf(row?.id ?? ''))?.status).toBe('purging'))
    await until(async () =>
      expect(await uploadsUnderWay(stage.env.S3_BUCKET ?? '', row?.storage_key ?? '')).toEqual([]),
    )
  }, 60_000)
})
