import { afterAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { answered, newUser, tokenFor } from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart } from '../support/http/parts.ts'
import { openStage } from '../support/process/acceptance.ts'
import { tied } from '../support/process/process.ts'
import { createFolder } from '../support/services/folder.ts'
import { findSchemathesis, haveSchemathesis } from './program.ts'

describe.skipIf(!haveSchemathesis())('schemathesis', async () => {
  const stage = await openStage({ RATE_LIMIT_PER_MINUTE: '0' })
  afterAll(stage.close)

  test('finds no response that contradicts the OpenAPI document', async () => {
    const folder = await createFolder()
    const user = newUser()
    try {
      const { code, output } = await schemathesis({
        url: stage.baseUrl,
        callers: [await caller('ann', user), await caller('bob', newUser())],
        serviceToken: await tokenFor(newUser(), { role: 'service', exp: inAnHour() }),
        knownIds: await createObjects(user),
        folder: folder.path,
      })
      if (code !== 0) console.error(output)
      expect(code).toBe(0)
      // What was refused from beginning to end would find nothing, either.
      expect(Number(/(\d+) generated/.exec(output)?.[1])).toBeGreaterThan(1000)
    } finally {
      await folder.remove()
    }
  }, 300_000)

  /** Somebody in the format of Web Fuzzing Commons. */
  async function caller(name: string, user: string) {
    const token = await tokenFor(user, { exp: inAnHour() })
    return { name, fixedHeaders: [{ name: 'Authorization', value: `Bearer ${token}` }] }
  }

  /** Objects in every state, several of each, because what finds one may remove it. */
  async function createObjects(user: string): Promise<string[]> {
    const picture = await jpegOf(MiB)
    const ids: string[] = []
    for (let i = 0; i < 8; i++) {
      const [active, deleted] = [await stage.uploaded(user), await stage.uploaded(user)]
      await stage.remove(user, deleted.id)
      const pending = await stage.presigned(user)
      const arrived = await stage.presigned(user, { size: picture.length })
      await fetch(arrived.uploadUrl, { method: arrived.method, headers: arrived.headers, body: picture })
      const declared = { filename: 'a.jpg', fileType: 'image/jpeg', size: 9 * MiB }
      const inParts = await answered<Multipart>(
        200,
        await stage.call('/media/multipart', { as: user, method: 'POST', json: declared }),
      )
      ids.push(active.id, deleted.id, pending.id, arrived.id, inParts.id, await beginTus(user))
    }
    return ids
  }

  async function beginTus(user: string): Promise<string> {
    const headers = {
      'tus-resumable': '1.0.0',
      'upload-length': '1000',
      'upload-metadata': `filetype ${btoa('image/png')}`,
    }
    const begun = await stage.call('/media/tus', { as: user, method: 'POST', headers })
    return begun.headers.get('location')?.split('/').at(-1) ?? ''
  }
})

const inAnHour = () => Math.floor(Date.now() / 1000) + 3600

/** One run with all checks; always the same requests. It writes into its own folder only. */
async function schemathesis(run: {
  url: string
  callers: object[]
  serviceToken: string
  knownIds: string[]
  folder: string
}) {
  const callers = join(run.folder, 'callers.json')
  await Bun.write(callers, JSON.stringify({ auth: run.callers }))
  const command = [
    findSchemathesis() ?? '',
    ...['--config-file', join(import.meta.dir, 'schemathesis.toml')],
    ...['run', `${run.url}/openapi.json`],
    ...['--checks', 'all', '--generation-deterministic', '--continue-on-failure', '--warnings', 'off', '--no-color'],
  ]
  const child = Bun.spawn(tied(command), {
    cwd: run.folder,
    env: {
      PATH: process.env.PATH,
      HOME: run.folder,
      SCHEMATHESIS_HOOKS: join(import.meta.dir, 'hooks.py'),
      CALLERS: callers,
      SERVICE_TOKEN: run.serviceToken,
      KNOWN_IDS: run.knownIds.join(),
      PYTHONDONTWRITEBYTECODE: '1',
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { code, output: `${out}${err}` }
}
