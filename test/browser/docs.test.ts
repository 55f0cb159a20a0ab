import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import { haveChromium, launchChromium } from '../support/browser/chromium.ts'
import { createClient, JWT_SECRET, newUser, tokenFor, until } from '../support/http/client.ts'
import { createDataDir } from '../support/process/acceptance.ts'
import { type RunningService, startService } from '../support/process/service.ts'

describe.skipIf(!haveChromium())('/docs in a browser, on the embedded default', () => {
  let dataDir: Awaited<ReturnType<typeof createDataDir>>
  let service: RunningService
  let browser: Browser
  let page: Page
  const complaints: string[] = []
  const asked = new Set<string>()
  beforeAll(async () => {
    dataDir = await createDataDir()
    service = await startService({ runtime: 'bun', env: { DATA_DIR: dataDir.path, AUTH_JWT_SECRET: JWT_SECRET } })
    browser = await launchChromium()
    page = await browser.newPage({ viewport: { width: 1200, height: 1600 } })
    page.setDefaultTimeout(10_000)
    // Violations of the content security policy are among them.
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('request', (request) => asked.add(new URL(request.url()).origin))
    await page.goto(`${service.baseUrl}/docs`)
    await page.locator('.opblock').first().waitFor()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await service?.stop()
    await dataDir?.remove()
  }, 60_000)

  test('shows every operation', async () => {
    const { paths } = await (await fetch(`${service.baseUrl}/openapi.json`)).json()
    const operations = Object.values<object>(paths).flatMap((item) => Object.keys(item))
    expect(await page.locator('.opblock').count()).toBe(operations.length)
    expect(await page.locator('.info .title').first().textContent()).toContain('Media Service')
  }, 30_000)

  test('lists the objects of a user who enters a token', async () => {
    const user = newUser()
    const { id } = await createClient(service.baseUrl).uploaded(user)
    await page.getByRole('button', { name: 'Authorize' }).first().click()
    await page
      .locator('.auth-container input')
      .first()
      .fill(await tokenFor(user))
    await page.locator('.auth-btn-wrapper .authorize').first().click()
    await page.getByRole('button', { name: 'Close' }).first().click()
    const list = page.locator('.opblock', { hasText: 'List your own objects' })
    await list.locator('.opblock-summary-control').click()
    await list.locator('.renderedMarkdown').getByText('curl').waitFor()
    await list.getByRole('button', { name: 'Try it out' }).click()
    await list.getByRole('button', { name: 'Execute' }).click()
    await until(async () => {
      const answer = (await list.locator('.live-responses-table').textContent()) ?? ''
      expect(answer).toContain('200')
      expect(answer).toContain(id)
    })
  }, 30_000)

  test('asks nobody else for anything, and complains of nothing', () => {
    expect(complaints).toEqual([])
    expect([...asked].filter((origin) => origin !== 'null')).toEqual([service.baseUrl])
  })
})
