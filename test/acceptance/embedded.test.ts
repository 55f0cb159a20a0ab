import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { answered, createClient, expectBytes, type Page, until } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, runtime } from '../support/process/acceptance.ts'
import { type RunningService, startService } from '../support/process/service.ts'
import { createFolder } from '../support/services/folder.ts'

if (backend === 'embedded') {
  setDefaultTimeout(60_000)
  const folder = await createFolder()
  const start = () => startService({ runtime, env: { DATA_DIR: join(folder.path, 'data') } })
  let service: RunningService = await start()
  afterAll(async () => {
    await service.stop()
    await folder.remove()
  })

  describe('started with no settings', () => {
    test('the service prints its address, a token, and curl lines that work as pasted', async () => {
      const [uploadLine, listLine] = await until(() => {
        const lines = service.logs().split('\n')
        const pasteable = lines.filter((line) => line.trim().startsWith('curl '))
        expect(pasteable).toHaveLength(2)
        for (const line of pasteable) expect(line).toContain(service.baseUrl)
        return pasteable
      })
      const object = JSON.parse(await paste(uploadLine ?? ''))
      expect(object).toMatchObject({ mimeType: 'image/jpeg', metadata: { width: 640, height: 427 } })
      const { items } = JSON.parse(await paste(listLine ?? ''))
      expect(items).toMatchObject([{ id: object.id }])
      await expectBytes(await fetch(items[0].signedUrl), await readCorpus('accept/rocket.jpg'))
    })

    // Without `reusePort: false` in src/main.ts both would run, and share the requests.
    test('a second one on the same port says so in a line that names the setting, and ends', async () => {
      if (runtime !== 'bun') return
      const env = { DATA_DIR: join(folder.path, 'other'), PORT: new URL(service.baseUrl).port }
      const failure = await startService({ runtime, env }).then(() => 'started', String)
      expect(failure).toContain('ended with 1 before it was ready')
      expect(failure.split('\n').slice(1).join('\n').trim()).toBe(
        `PORT: ${env.PORT} on 127.0.0.1 is in use; set PORT to another`,
      )
    })

    test('an upload is there again after a restart, and after a crash; tokens and links stay good', async () => {
      const authorization = /Authorization: (Bearer [\w.-]+)/.exec(service.logs())?.[1] ?? ''
      const list = () => createClient(service.baseUrl).call('/media', { headers: { authorization } })
      const [before] = (await answered<Page>(200, await list())).items
      const { pathname, search } = new URL(before?.signedUrl ?? '')
      for (const end of [() => service.stop(), () => service.kill()]) {
        await end()
        service = await start()
        expect((await answered<Page>(200, await list())).items).toMatchObject([{ id: before?.id ?? '' }])
        await expectBytes(await fetch(service.baseUrl + pathname + search), await readCorpus('accept/rocket.jpg'))
      }
    })
  })
}

/** What a shell writes to stdout when somebody pastes this line. */
async function paste(line: string): Promise<string> {
  const child = Bun.spawn(['/bin/sh', '-c', line], { stderr: 'ignore' })
  return new Response(child.stdout).text()
}
