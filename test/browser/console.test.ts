import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { basename, join } from 'node:path'
import axe from 'axe-core'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { haveChromium, launchChromium } from '../support/browser/chromium.ts'
import { type ConsoleStage, openEmbedded, openReal } from '../support/browser/console.ts'
import { until } from '../support/http/client.ts'
import { jpegOf, MiB } from '../support/http/parts.ts'
import { accepted, DEFAULT_TYPES } from '../support/pictures/corpus.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { haveServices } from '../support/services/shared.ts'

const FILES = accepted
  // What a file is declared as is told by its name here, and one is something else than that.
  .filter(({ file, type }) => file.startsWith('accept/') && DEFAULT_TYPES.has(type) && !file.includes('png-named'))
  .map(({ file }) => corpus(file))
const WIDE = { width: 1280, height: 800 }
const TEST_MS = 60_000
// More than two pages.
const MANY = 130
// By a cut: one part of those that go to the store.
const LOST_AT_MOST = 8 * MiB
// What one tab asks for while another one deletes it: the browser tells of each 404 itself.
const GONE = /status of 404 .*\/media\/[0-9a-f-]{36}(\/content)?\?/
// Of a picture 640 pixels wide, in 320 and in 640.
const PICTURES = ['image/jpeg', 'image/jpeg']

describe.skipIf(!(haveChromium() && (await haveServices()))).each([
  ['on the embedded default', openEmbedded],
  ['on MinIO', openReal],
])('the console in a browser, %s', (_name, openStage) => {
  let folder: Folder
  let stage: ConsoleStage
  let browser: Browser
  let context: BrowserContext
  let page: Page
  const complaints: string[] = []

  beforeAll(async () => {
    folder = await createFolder()
    stage = await openStage()
    browser = await launchChromium()
    context = await newContext()
    page = await open(context)
  }, TEST_MS)
  afterAll(async () => {
    await browser?.close()
    await stage?.close()
    await folder?.remove()
  }, TEST_MS)

  async function newContext(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const made = await browser.newContext({ viewport: WIDE, reducedMotion: 'reduce', ...options })
    await made.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: stage.address })
    await made.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
        console.error(`blocked: ${violatedDirective} ${blockedURI}`),
      )
    })
    return made
  }

  /** The page as its visitor sees it first, signed in where that takes a token. */
  async function open(where: BrowserContext): Promise<Page> {
    const tab = await where.newPage()
    tab.setDefaultTimeout(15_000)
    tab.on('console', (message) => {
      const complaint = `${message.text()} ${message.location().url}`
      if (['error', 'warning'].includes(message.type()) && !GONE.test(complaint)) complaints.push(complaint)
    })
    tab.on('pageerror', (error) => complaints.push(String(error)))
    await tab.goto(`${stage.address}/console`)
    if (stage.token !== undefined) {
      await tab.getByLabel('Token').fill(stage.token)
      await tab.getByRole('button', { name: 'Sign in' }).click()
    }
    await tab.locator('.uppy-Dashboard-AddFiles').waitFor()
    return tab
  }

  const choose = (tab: Page, ...paths: string[]) =>
    tab.locator('input.uppy-Dashboard-input').first().setInputFiles(paths)
  const tileOf = (tab: Page, name: string) => tab.getByRole('button', { name: new RegExp(`^${name}, `) })
  const namesIn = async (tab: Page) =>
    (await tab.locator('.tile-name').allTextContents()).map((name) => name.trim()).sort()

  test(
    'a first visitor sees where to drop a picture',
    async () => {
      await page.getByText('Drop a picture anywhere on this page').waitFor()
      expect(await page.locator('.usage').textContent()).toStartWith('0 files')
      expect(await faultsIn(page)).toEqual([])
    },
    TEST_MS,
  )

  test(
    'uploads many files at once, and another tab shows each of them',
    async () => {
      const other = await open(context)
      await choose(page, ...FILES)
      const names = FILES.map((file) => basename(file)).sort()
      await until(async () => expect(await namesIn(page)).toEqual(names), 30_000)
      await until(async () => expect(await namesIn(other)).toEqual(names), 30_000)
      await until(async () => expect(await picturesSeen(page)).toBe(FILES.length), 30_000)
      await other.close()
      // What is done makes room for more.
      await page.locator('.uppy-Dashboard-AddFiles').waitFor()
    },
    TEST_MS,
  )

  test(
    'takes what is dropped anywhere on the page',
    async () => {
      await dropOn(page, '#gallery', 'dropped.jpg', await jpegOf(120_000))
      await tileOf(page, 'dropped.jpg').waitFor()
    },
    TEST_MS,
  )

  test(
    'takes what is pasted',
    async () => {
      await pasteInto(page, 'pasted-anywhere.jpg', await jpegOf(120_000))
      await page.locator('.uppy-Dashboard-browse').first().focus()
      await pasteInto(page, 'pasted.jpg', await jpegOf(120_000))
      await tileOf(page, 'pasted-anywhere.jpg').waitFor()
      await tileOf(page, 'pasted.jpg').waitFor()
    },
    TEST_MS,
  )

  test('goes on by itself after the connection was cut in the middle of 60 MB', async () => {
    const path = join(folder.path, 'large.jpg')
    await Bun.write(path, await jpegOf(60_000_000))
    const before = stage.wire.received()
    const cut = stage.wire.refuseAfter(30_000_000)
    const failed = complaints.length
    await choose(page, path)
    await cut
    await page.getByText('The connection was lost.').waitFor({ timeout: 40_000 })
    await stage.wire.pass()
    await page.evaluate(() => dispatchEvent(new Event('online')))
    await tileOf(page, 'large.jpg').waitFor({ timeout: 40_000 })
    // What had arrived was not sent again, but for the parts that were cut.
    expect(stage.wire.received() - before).toBeLessThan(60_000_000 + LOST_AT_MOST)
    // The browser itself says of each request that it failed.
    complaints.splice(failed)
  }, 120_000)

  test(
    'says why a file is refused',
    async () => {
      const failed = complaints.length
      await choose(page, corpus('accept/png-named.jpg'))
      const message = page.getByRole('status').getByText('png-named.jpg: image/jpeg was declared')
      await message.waitFor()
      expect(await message.textContent()).toContain('type_mismatch')
      await page.getByRole('button', { name: 'Remove file' }).first().click()
      complaints.splice(failed)
    },
    TEST_MS,
  )

  test(
    'renames, makes public and private again, and says what others get',
    async () => {
      await tileOf(page, 'rocket.jpg').click()
      const details = page.getByRole('dialog')
      await details.getByText('640 × 427').waitFor()
      await details.getByLabel('Name').fill('launch.jpg')
      await details.getByRole('button', { name: 'Rename' }).click()
      await until(async () => expect(await details.getAttribute('aria-label')).toBe('launch.jpg'))
      const stranger = async () => {
        const address = await details.getByLabel(/^Address/).inputValue()
        return (await fetch(address)).status
      }
      expect(await stranger()).toBe(401)
      await details.getByRole('radio', { name: 'Public' }).check()
      await details.getByText('Everyone who has its address.').waitFor()
      expect(await stranger()).toBe(200)
      expect(await typesInMarkup(page)).toEqual(PICTURES)
      expect(await faultsIn(page)).toEqual([])
      await details.getByRole('radio', { name: 'Private' }).check()
      await details.getByText('Only you.').waitFor()
      expect(await stranger()).toBe(401)
      await details.getByRole('button', { name: 'Copy: Link to share' }).click()
      const copied = await page.evaluate(() => navigator.clipboard.readText())
      expect((await fetch(copied)).headers.get('content-type')).toBe('image/jpeg')
      expect(await typesInMarkup(page)).toEqual(PICTURES)
      await page.keyboard.press('Escape')
      await tileOf(page, 'launch.jpg').waitFor()
    },
    TEST_MS,
  )

  test(
    'deletes with a way back, and restores from the bin; another tab follows',
    async () => {
      const other = await open(context)
      await tileOf(other, 'cat.webp').waitFor()
      await page.getByRole('button', { name: 'Delete cat.webp' }).click()
      await tileOf(page, 'cat.webp').waitFor({ state: 'detached' })
      await tileOf(other, 'cat.webp').waitFor({ state: 'detached' })
      await page.getByRole('button', { name: 'Undo' }).click()
      await tileOf(page, 'cat.webp').waitFor()
      await tileOf(other, 'cat.webp').waitFor()

      await tileOf(page, 'cat.webp').click()
      await page.getByRole('dialog').getByRole('button', { name: 'Move to the bin' }).click()
      await tileOf(other, 'cat.webp').waitFor({ state: 'detached' })
      await page.getByRole('link', { name: 'Bin' }).click()
      await tileOf(page, 'cat.webp').waitFor()
      expect(await faultsIn(page)).toEqual([])
      await page.getByRole('button', { name: 'Restore cat.webp' }).click()
      await page.getByText('The bin is empty.').waitFor()
      await page.getByRole('link', { name: 'Library' }).click()
      await tileOf(page, 'cat.webp').waitFor()
      await tileOf(other, 'cat.webp').waitFor()
      await other.close()
    },
    TEST_MS,
  )

  test(
    'can be used by keyboard alone',
    async () => {
      const tab = await open(context)
      await tab.locator('.tile').first().locator('img.seen').waitFor()
      const press = async (...keys: string[]) => {
        for (const key of keys) await tab.keyboard.press(key)
      }
      await press('Tab')
      expect(await focused(tab)).toBe('Skip to the pictures')
      await press('Enter')
      await press('Tab')
      const [newest = ''] = await tab.locator('.tile-name').allTextContents()
      expect(await focused(tab)).toStartWith(newest)
      await press('ArrowRight', 'ArrowDown', 'ArrowUp', 'Home', 'Enter')
      const details = tab.getByRole('dialog', { name: newest })
      await details.waitFor()
      await details.getByLabel('Name').focus()
      await press('ControlOrMeta+a')
      await tab.keyboard.type('typed.jpg')
      await press('Enter')
      await tab.getByRole('dialog', { name: 'typed.jpg' }).waitFor()
      await press('Escape')
      await until(async () => expect(await focused(tab)).toStartWith('typed.jpg'))
      await press('Delete')
      await tileOf(tab, 'typed.jpg').waitFor({ state: 'detached' })
      await tab.getByRole('button', { name: 'Undo' }).focus()
      await press('Enter')
      await tileOf(tab, 'typed.jpg').waitFor()
      await tab.close()
    },
    TEST_MS,
  )

  test(
    'scrolls through everything, page by page',
    async () => {
      const bytes = await Bun.file(corpus('accept/three-frames-120x80.gif')).bytes()
      for (let sent = 0; sent < MANY; sent += 10)
        await Promise.all(Array.from({ length: 10 }, (_, i) => stage.upload(`small-${sent + i}.gif`, bytes)))
      // The first tab follows in order: when it shows all of these, it shows what the tests before did, too.
      const all = await until(async () => {
        const names = await namesIn(page)
        expect(names.filter((name) => name.startsWith('small-')).length).toBe(MANY)
        return names.length
      }, 60_000)
      const tab = await open(context)
      await tab.locator('.tile').first().waitFor()
      expect(await tab.locator('.tile').count()).toBeLessThan(MANY)
      await until(async () => {
        await tab.keyboard.press('End')
        const failure = await tab.getByRole('alert').allTextContents()
        const loading = await tab.locator('.tiles').getAttribute('aria-busy')
        expect({ tiles: await tab.locator('.tile').count(), failure, loading }).toMatchObject({
          tiles: all,
          failure: [],
        })
      }, 120_000)
      await tab.close()
    },
    4 * TEST_MS,
  )

  test.each(['light', 'dark'] as const)(
    'has no fault that axe finds, and fits from 360 to 2560 pixels, %s',
    async (colorScheme) => {
      for (const width of [360, 1280, 2560]) {
        const own = await newContext({ viewport: { width, height: 800 }, colorScheme })
        const tab = await open(own)
        await tab.locator('.tile').first().waitFor()
        expect([width, await faultsIn(tab)]).toEqual([width, []])
        const wanted = await tab.evaluate(() => document.documentElement.scrollWidth)
        expect(wanted).toBeLessThanOrEqual(width)
        await tab.locator('.tile-open').first().click()
        await tab.getByRole('dialog').waitFor()
        expect([width, await faultsIn(tab)]).toEqual([width, []])
        await own.close()
      }
    },
    TEST_MS,
  )

  test('complains of nothing, and its policy blocks nothing that it needs', () => {
    expect(complaints).toEqual([])
  })
})

function corpus(file: string): string {
  return join(import.meta.dir, '..', 'corpus', file)
}

function picturesSeen(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const pictures = [...document.querySelectorAll<HTMLImageElement>('.tile img')]
    for (const picture of pictures) picture.scrollIntoView()
    return pictures.filter(({ complete, naturalWidth }) => complete && naturalWidth > 0).length
  })
}

/** What strangers get from each address of the markup that there is to copy. */
async function typesInMarkup(page: Page): Promise<(string | null)[]> {
  const markup = await page.getByLabel(/^HTML with srcset/).inputValue()
  const srcset = /srcset="([^"]+)"/.exec(markup)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const addresses = srcset.split(', ').map((candidate) => candidate.split(' ')[0] ?? '')
  return Promise.all(addresses.map(async (address) => (await fetch(address)).headers.get('content-type')))
}

async function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement
    return element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? ''
  })
}

/** Drops a file as a person does who drags one from the desktop. */
async function dropOn(page: Page, selector: string, name: string, bytes: Uint8Array): Promise<void> {
  const data = await fileTransfer(page, name, bytes)
  for (const type of ['dragenter', 'dragover', 'drop']) await page.dispatchEvent(selector, type, { dataTransfer: data })
}

async function pasteInto(page: Page, name: string, bytes: Uint8Array): Promise<void> {
  const data = await fileTransfer(page, name, bytes)
  await page.evaluate((clipboardData) => {
    const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true })
    document.activeElement?.dispatchEvent(event)
  }, data)
}

function fileTransfer(page: Page, name: string, bytes: Uint8Array) {
  return page.evaluateHandle(
    ({ base64, name }) => {
      const data = new DataTransfer()
      const content = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
      data.items.add(new File([content], name, { type: 'image/jpeg' }))
      return data
    },
    { base64: Buffer.from(bytes).toString('base64'), name },
  )
}

/** What axe-core finds wrong outside of Uppy's own markup, each as its rule and where. */
async function faultsIn(page: Page): Promise<string[]> {
  // Its source runs as the test's, past the page's policy.
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: Axe }).axe.run({ exclude: ['.uppy-Root'] })
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`))
  })
}

type Axe = { run(context: object): Promise<{ violations: { id: string; nodes: { target: string[] }[] }[] }> }
