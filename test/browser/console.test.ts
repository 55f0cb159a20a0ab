/** How the console shows and changes what is there; where its bytes are makes no difference to the page. */
import { describe, expect, test } from 'bun:test'
import { haveChromium } from '../support/browser/chromium.ts'
import { openEmbedded } from '../support/browser/console.ts'
import { corpus, faultsIn, focused, namesIn, TEST_MS, tileOf, visitConsole } from '../support/browser/visit.ts'
import { until } from '../support/http/client.ts'

// More than two pages.
const MANY = 130

describe.skipIf(!haveChromium())('the console in a browser', () => {
  const visit = visitConsole(async () => {
    const stage = await openEmbedded()
    for (const file of ['accept/rocket.jpg', 'accept/astronaut.png', 'accept/cat.webp'])
      await stage.upload(file.replace('accept/', ''), await Bun.file(corpus(file)).bytes())
    return stage
  })

  test(
    'deletes with a way back, and restores from the bin; another tab follows',
    async () => {
      const other = await visit.open(visit.context)
      await tileOf(other, 'cat.webp').waitFor()
      await visit.page.getByRole('button', { name: 'Delete cat.webp' }).click()
      await tileOf(visit.page, 'cat.webp').waitFor({ state: 'detached' })
      await tileOf(other, 'cat.webp').waitFor({ state: 'detached' })
      await visit.page.getByRole('button', { name: 'Undo' }).click()
      await tileOf(visit.page, 'cat.webp').waitFor()
      await tileOf(other, 'cat.webp').waitFor()

      await tileOf(visit.page, 'cat.webp').click()
      await visit.page.getByRole('dialog').getByRole('button', { name: 'Move to the bin' }).click()
      await tileOf(other, 'cat.webp').waitFor({ state: 'detached' })
      await visit.page.getByRole('link', { name: 'Bin' }).click()
      await tileOf(visit.page, 'cat.webp').waitFor()
      expect(await faultsIn(visit.page)).toEqual([])
      await visit.page.getByRole('button', { name: 'Restore cat.webp' }).click()
      await visit.page.getByText('The bin is empty.').waitFor()
      await visit.page.getByRole('link', { name: 'Library' }).click()
      await tileOf(visit.page, 'cat.webp').waitFor()
      await tileOf(other, 'cat.webp').waitFor()
      await other.close()
    },
    TEST_MS,
  )

  test(
    'can be used by keyboard alone',
    async () => {
      const tab = await visit.open(visit.context)
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
        await Promise.all(Array.from({ length: 10 }, (_, i) => visit.stage.upload(`small-${sent + i}.gif`, bytes)))
      // The first tab follows in order: when it shows all of these, it shows what the tests before did, too.
      const all = await until(async () => {
        const names = await namesIn(visit.page)
        expect(names.filter((name) => name.startsWith('small-')).length).toBe(MANY)
        return names.length
      }, 60_000)
      const tab = await visit.open(visit.context)
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
        const own = await visit.newContext({ viewport: { width, height: 800 }, colorScheme })
        const tab = await visit.open(own)
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
    expect(visit.complaints).toEqual([])
  })
})
