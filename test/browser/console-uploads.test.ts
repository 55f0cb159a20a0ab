/** How files get in by the console, on the embedded default and where they go straight to the store. */
import { describe, expect, test } from 'bun:test'
import { basename, join } from 'node:path'
import { haveChromium } from '../support/browser/chromium.ts'
import { openEmbedded, openReal } from '../support/browser/console.ts'
import {
  choose,
  corpus,
  dropOn,
  faultsIn,
  namesIn,
  pasteInto,
  picturesSeen,
  TEST_MS,
  tileOf,
  typesInMarkup,
  visitConsole,
} from '../support/browser/visit.ts'
import { until } from '../support/http/client.ts'
import { jpegOf, MiB } from '../support/http/parts.ts'
import { accepted, DEFAULT_TYPES } from '../support/pictures/corpus.ts'
import { haveServices } from '../support/services/shared.ts'

const FILES = accepted
  // What a file is declared as is told by its name here, and one is something else than that.
  .filter(({ file, type }) => file.startsWith('accept/') && DEFAULT_TYPES.has(type) && !file.includes('png-named'))
  .map(({ file }) => corpus(file))
// By a cut: one part of those that go to the store.
const LOST_AT_MOST = 8 * MiB
// Of a picture 640 pixels wide, in 320 and in 640.
const PICTURES = ['image/jpeg', 'image/jpeg']

describe.skipIf(!(haveChromium() && (await haveServices()))).each([
  ['on the embedded default', openEmbedded],
  ['on MinIO', openReal],
])('the console in a browser, %s', (backend, openStage) => {
  const visit = visitConsole(openStage)

  test(
    'a first visitor sees where to drop a picture',
    async () => {
      await visit.page.getByText('Drop a picture anywhere on this page').waitFor()
      expect(await visit.page.locator('.usage').textContent()).toStartWith('0 files')
      expect(await faultsIn(visit.page)).toEqual([])
    },
    TEST_MS,
  )

  test(
    'uploads many files at once, and another tab shows each of them',
    async () => {
      const other = await visit.open(visit.context)
      await choose(visit.page, ...FILES)
      const names = FILES.map((file) => basename(file)).sort()
      await until(async () => expect(await namesIn(visit.page)).toEqual(names), 30_000)
      await until(async () => expect(await namesIn(other)).toEqual(names), 30_000)
      await until(async () => expect(await picturesSeen(visit.page)).toBe(FILES.length), 30_000)
      await other.close()
      // What is done makes room for more.
      await visit.page.locator('.uppy-Dashboard-AddFiles').waitFor()
    },
    TEST_MS,
  )

  test(
    'takes what is dropped anywhere on the page',
    async () => {
      await dropOn(visit.page, '#gallery', 'dropped.jpg', await jpegOf(120_000))
      await tileOf(visit.page, 'dropped.jpg').waitFor()
    },
    TEST_MS,
  )

  test(
    'takes what is pasted',
    async () => {
      await pasteInto(visit.page, 'pasted-anywhere.jpg', await jpegOf(120_000))
      await visit.page.locator('.uppy-Dashboard-browse').first().focus()
      await pasteInto(visit.page, 'pasted.jpg', await jpegOf(120_000))
      await tileOf(visit.page, 'pasted-anywhere.jpg').waitFor()
      await tileOf(visit.page, 'pasted.jpg').waitFor()
    },
    TEST_MS,
  )

  test('goes on by itself after the connection was cut in the middle of 60 MB', async () => {
    const path = join(visit.folder.path, 'large.jpg')
    await Bun.write(path, await jpegOf(60_000_000))
    const before = visit.stage.wire.received()
    const cut = visit.stage.wire.refuseAfter(30_000_000)
    const failed = visit.complaints.length
    await choose(visit.page, path)
    await cut
    await visit.page.getByText('The connection was lost.').waitFor({ timeout: 40_000 })
    await visit.stage.wire.pass()
    await visit.page.evaluate(() => dispatchEvent(new Event('online')))
    await tileOf(visit.page, 'large.jpg').waitFor({ timeout: 40_000 })
    // What had arrived was not sent again, but for the parts that were cut.
    expect(visit.stage.wire.received() - before).toBeLessThan(60_000_000 + LOST_AT_MOST)
    // The browser itself says of each request that it failed.
    visit.complaints.splice(failed)
  }, 120_000)

  test.skipIf(backend !== 'on MinIO')(
    'aborts an upload whose file is removed before it is complete',
    async () => {
      const failed = visit.complaints.length
      await visit.stage.wire.blackhole()
      const aborted = visit.page.waitForResponse((response) => {
        return response.request().method() === 'DELETE' && response.url().endsWith('/upload')
      })
      await choose(visit.page, corpus('accept/cat.webp'))
      await visit.page.waitForResponse((response) => response.url().endsWith('/media/sign'))
      await visit.page.getByRole('button', { name: 'Remove file' }).first().click()
      expect((await aborted).status()).toBe(204)
      await visit.stage.wire.pass()
      visit.complaints.splice(failed)
    },
    TEST_MS,
  )

  test(
    'says why a file is refused',
    async () => {
      const failed = visit.complaints.length
      await choose(visit.page, corpus('refuse/html-named.jpg'))
      const message = visit.page.getByRole('status').getByText('html-named.jpg: Files of type')
      await message.waitFor()
      expect(await message.textContent()).toContain('media_type_unsupported')
      await visit.page.getByRole('button', { name: 'Remove file' }).first().click()
      visit.complaints.splice(failed)
    },
    TEST_MS,
  )

  test(
    'renames, makes public and private again, and says what others get',
    async () => {
      await tileOf(visit.page, 'rocket.jpg').click()
      const details = visit.page.getByRole('dialog')
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
      expect(await typesInMarkup(visit.page)).toEqual(PICTURES)
      expect(await faultsIn(visit.page)).toEqual([])
      await details.getByRole('radio', { name: 'Private' }).check()
      await details.getByText('Only you.').waitFor()
      expect(await stranger()).toBe(401)
      await details.getByRole('button', { name: 'Copy: Link to share' }).click()
      const copied = await visit.page.evaluate(() => navigator.clipboard.readText())
      expect((await fetch(copied)).headers.get('content-type')).toBe('image/jpeg')
      expect(await typesInMarkup(visit.page)).toEqual(PICTURES)
      await visit.page.keyboard.press('Escape')
      await tileOf(visit.page, 'launch.jpg').waitFor()
    },
    TEST_MS,
  )

  test('complains of nothing, and its policy blocks nothing that it needs', () => {
    expect(visit.complaints).toEqual([])
  })
})
