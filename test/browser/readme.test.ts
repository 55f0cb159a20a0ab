import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { haveChromium, launchChromium } from '../support/browser/chromium.ts'
import { createClient, newUser, tokenFor, until } from '../support/http/client.ts'
import { jpegOf } from '../support/http/parts.ts'
import { openStage, type Stage } from '../support/process/acceptance.ts'
import { fencedBlocks } from '../support/readme.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { haveServices } from '../support/services/shared.ts'

const SIZE = 12_000_000

const examples = await fencedBlocks('js')
const [CALL = ''] = examples.find((example) => example.startsWith('const call ='))?.split('\n\n') ?? []
const named = examples
  .filter((example) => !example.includes('/media/events'))
  .map((example): [string, string] => [example.split('\n')[0] ?? '', example])

describe.skipIf(!(haveChromium() && (await haveServices())))('an example of the guides, in a browser', () => {
  let folder: Folder
  let pages: ReturnType<typeof Bun.serve>
  let stage: Stage
  let browser: Browser
  beforeAll(async () => {
    folder = await createFolder()
    await Bun.build({
      entrypoints: [join(repository, 'test/support/browser/packages.ts')],
      outdir: folder.path,
      target: 'browser',
    })
    pages = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: servePage })
    stage = await openStage({ CORS_ORIGINS: pages.url.origin })
    browser = await launchChromium()
    await Bun.write(join(folder.path, 'holiday.jpg'), await jpegOf(SIZE))
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await stage?.close()
    await pages?.stop(true)
    await folder?.remove()
  }, 60_000)

  function servePage({ url }: Request): Response {
    const { pathname } = new URL(url)
    if (pathname === '/packages.js') return new Response(Bun.file(join(folder.path, 'packages.js')))
    if (pathname !== '/') return new Response(null, { status: 204 })
    const html =
      '<!doctype html><title>Upload</title><input type="file"><script type="module" src="/packages.js"></script>'
    return new Response(html, { headers: { 'content-type': 'text/html' } })
  }

  /** The example as it is, with the service's address, what comes before it, and a file for Uppy. */
  function scriptOf(example: string, token: string): string {
    const before = example.includes(CALL) || !example.includes('call(') ? '' : CALL
    const after = example.includes('new Uppy()')
      ? 'uppy.addFile({ name: file.name, type: file.type, data: file }); await uppy.upload()'
      : ''
    const body = `${before}\n${example}\n${after}`.replaceAll('https://api.example.com', stage.baseUrl)
    const given = `{ ...window.packages, file: document.querySelector('input').files[0], token: '${token}', show() {} }`
    // The packages are given, for a script that is no module cannot import them.
    const script = body.replace(/^import .*$/m, '')
    return `(async ({ AwsS3, Uppy, createMediaClient, tus, file, token, show }) => {\n${script}\n})(${given})`
  }

  test.each(named)(
    'stores a file: %s',
    async (_name, example) => {
      const user = newUser()
      const page = await browser.newPage()
      const complaints: string[] = []
      page.on('pageerror', (error) => complaints.push(String(error)))
      await page.goto(pages.url.href)
      await page.setInputFiles('input', join(folder.path, 'holiday.jpg'))
      await page.evaluate(scriptOf(example, await tokenFor(user)))
      await until(async () => {
        const { items } = await createClient(stage.baseUrl).page(user)
        expect(items).toMatchObject([{ sizeBytes: SIZE, mimeType: 'image/jpeg', originalName: 'holiday.jpg' }])
      }, 30_000)
      expect(complaints).toEqual([])
      await page.close()
    },
    60_000,
  )

  test('hears what happens, also in a break', async () => {
    const user = newUser()
    const page = await browser.newPage()
    const [shown, expected]: [string[], string[]] = [[], []]
    await page.exposeFunction('show', (event: string, { id }: { id: string }) => shown.push(`${event} ${id}`))
    const happen = async () => {
      const { id } = await createClient(stage.baseUrl).uploaded(user)
      expected.push(`photo:uploaded ${id}`)
    }
    let streams = 0
    await page.route('**/media/events', async (route) => {
      streams += 1
      // The first stream ends with its token, which is good for five seconds more than it says.
      const claims = streams === 1 ? { exp: Math.floor(Date.now() / 1000) - 2 } : {}
      if (streams === 2) await happen()
      const authorization = `Bearer ${await tokenFor(user, claims)}`
      await route.continue({ headers: { ...route.request().headers(), authorization } })
    })
    await page.goto(pages.url.href)
    await page.setInputFiles('input', join(folder.path, 'holiday.jpg'))
    const [example = ''] = examples.filter((text) => text.includes('/media/events'))
    // It goes on for as long as the page is there.
    page.evaluate(scriptOf(example, '').replace('show() {}', 'show')).catch(() => {})
    await until(() => expect(streams).toBe(1))
    await page.waitForTimeout(500)
    await happen()
    await until(() => expect(shown).toEqual(expected))
    await until(() => expect(streams).toBe(2), 20_000)
    await until(() => expect(shown).toHaveLength(2))
    await happen()
    await until(() => expect(shown).toHaveLength(3))
    expect(shown).toEqual(expected)
    await page.close()
  }, 60_000)

  test('is one of seven', () => {
    expect(examples).toHaveLength(7)
    expect(CALL).not.toBe('')
  })
})
