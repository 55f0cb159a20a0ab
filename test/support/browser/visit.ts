/** A browser at the console of a service of its own, and what a visitor does there. */
import { afterAll, beforeAll } from 'bun:test'
import { join } from 'node:path'
import axe from 'axe-core'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { repository } from '../repository.ts'
import { createFolder, type Folder } from '../services/folder.ts'
import { launchChromium } from './chromium.ts'
import type { ConsoleStage } from './console.ts'

export const TEST_MS = 60_000
const WIDE = { width: 1280, height: 800 }
// What one tab asks for while another one deletes it: the browser tells of each 404 itself.
const GONE = /status of 404 .*\/media\/[0-9a-f-]{36}(\/content)?\?/

export type Visit = {
  readonly folder: Folder
  readonly stage: ConsoleStage
  readonly context: BrowserContext
  /** Its first tab. */
  readonly page: Page
  /** What the browser wrote that is an error or a warning. */
  complaints: string[]
  newContext(options?: BrowserContextOptions): Promise<BrowserContext>
  /** The page as its visitor sees it first, signed in where that takes a token. */
  open(where: BrowserContext): Promise<Page>
}

/** Starts all of it before the tests of a `describe`, and ends it after them. */
export function visitConsole(openStage: () => Promise<ConsoleStage>): Visit {
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

  return {
    get folder() {
      return folder
    },
    get stage() {
      return stage
    },
    get context() {
      return context
    },
    get page() {
      return page
    },
    complaints,
    newContext,
    open,
  }
}

export const choose = (tab: Page, ...paths: string[]) =>
  tab.locator('input.uppy-Dashboard-input').first().setInputFiles(paths)
export const tileOf = (tab: Page, name: string) => tab.getByRole('button', { name: new RegExp(`^${name}, `) })
export const namesIn = async (tab: Page) =>
  (await tab.locator('.tile-name').allTextContents()).map((name) => name.trim()).sort()

export function picturesSeen(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const pictures = [...document.querySelectorAll<HTMLImageElement>('.tile img')]
    for (const picture of pictures) picture.scrollIntoView()
    return pictures.filter(({ complete, naturalWidth }) => complete && naturalWidth > 0).length
  })
}

/** What strangers get from each address of the markup that there is to copy. */
export async function typesInMarkup(page: Page): Promise<(string | null)[]> {
  const markup = await page.getByLabel(/^HTML with srcset/).inputValue()
  const srcset = /srcset="([^"]+)"/.exec(markup)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const addresses = srcset.split(', ').map((candidate) => candidate.split(' ')[0] ?? '')
  return Promise.all(addresses.map(async (address) => (await fetch(address)).headers.get('content-type')))
}

export async function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement
    return element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? ''
  })
}

/** Drops a file as a person does who drags one from the desktop. */
export async function dropOn(page: Page, selector: string, name: string, bytes: Uint8Array): Promise<void> {
  const data = await fileTransfer(page, name, bytes)
  for (const type of ['dragenter', 'dragover', 'drop']) await page.dispatchEvent(selector, type, { dataTransfer: data })
}

export async function pasteInto(page: Page, name: string, bytes: Uint8Array): Promise<void> {
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
export async function faultsIn(page: Page): Promise<string[]> {
  // Its source runs as the test's, past the page's policy.
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: Axe }).axe.run({ exclude: ['.uppy-Root'] })
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`))
  })
}

type Axe = { run(context: object): Promise<{ violations: { id: string; nodes: { target: string[] }[] }[] }> }

/** The path of a file of the corpus. */
export function corpus(file: string): string {
  return join(repository, 'test', 'corpus', file)
}
