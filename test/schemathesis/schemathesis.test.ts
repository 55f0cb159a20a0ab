import { afterAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { answered, newUser, tokenFor } from '../acceptance/client.ts'
import { jpegOf, MiB, type Multipart } from '../acceptance/parts.ts'
import { openStage } from '../acceptance/stage.ts'
import { tied } from '../process.ts'
import { createFolder } from '../services/folder.ts'
import { findSchemathesis, haveSchemathesis } from './program.ts'

describe.skipIf(!haveSchemathesis())('schemathesis', async () => {
  const stage = await openStage({ RATE_LIMIT_PER_MINUTE: '0' })
  afterAll(stage.close)

  test('finds nothing', async () => {
    const folder = await createFolder()
    const user = newUser()
    const token = await tokenFor(user, { role: 'service', exp: Math.floor(Date.now() / 1000) + 3600 })
    try {
      const { code, output } = await schemathesis({
        url: stage.baseUrl,
        token,
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
  }, 180_000)

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

/** One run with all checks; always the same requests. It writes into its own folder only. */
async function schemathesis(run: { url: string; token: string; knownIds: string[]; folder: string }) {
  const command = [
    findSchemathesis() ?? '',
    ...['--config-file', join(import.meta.dir, 'schemathesis.toml')],
    ...['run', `${run.url}/openapi.json`, '--header', `Authorization: Bearer ${run.token}`],
    ...['--checks', 'all', '--generation-deterministic', '--continue-on-failure', '--warnings', 'off', '--no-color'],
  ]
  const child = Bun.spawn(tied(command), {
    cwd: run.folder,
    env: {
      PATH: process.env.PATH,
      HOME: run.folder,
      SCHEMATHESIS_HOOKS: join(import.meta.dir, 'hooks.py'),
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
