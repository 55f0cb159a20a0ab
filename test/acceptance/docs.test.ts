import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { answered, expectProblem, newUser, tokenFor } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage } from '../support/process/acceptance.ts'
import { readPages } from '../support/readme.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

type Operation = { description: string; security?: object[]; responses: Record<string, unknown> }
type Document = { paths: Record<string, Record<string, Operation>> }

const stage = await openStage()
const { baseUrl, call, uploaded, presigned, put, remove } = stage
let folder: Folder
beforeAll(async () => {
  folder = await createFolder()
  await Bun.write(join(folder.path, 'rocket.jpg'), await readCorpus('accept/rocket.jpg'))
})
afterAll(async () => {
  await stage.close()
  await folder.remove()
})

const document = await answered<Document>(200, await call('/openapi.json'))
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]): [string, Operation] => [
    `${method.toUpperCase()} ${path}`,
    operation,
  ]),
)

// The disk store knows no multipart uploads.
const inParts = operations.filter(([name]) => /multipart$|\{id\}\/(parts|upload)$/.test(name))
const runnable = backend === 'embedded' ? operations.filter((operation) => !inParts.includes(operation)) : operations

describe('the OpenAPI document', () => {
  test.each(runnable)('has an example of %s that runs as shown', async (name, { description, security }) => {
    const [, line = ''] = /```sh\n(.*)\n```/.exec(description) ?? []
    expect(line).toStartWith('curl ')
    expect(line.includes('$T')).toBe(security === undefined || security.length > 0)
    const user = newUser()
    const role = name === 'DELETE /media' ? { role: 'service' } : {}
    const ID = line.includes('$ID') ? await (makers[name] ?? made)(user) : ''
    const env = { T: await tokenFor(user, role), ID }
    // What does not end is cut off: curl's 28.
    if (line.includes(' -N ')) expect((await run(line, env, 2)).code).toBe(28)
    else expect(await run(line, env)).toEqual({ code: 0, complaint: '' })
  })

  test('has every call that docs/api.md lists', async () => {
    const [table = ''] = /^\| call \|[\s\S]*?\n\n/m.exec(await readPages('docs/api.md')) ?? []
    const cells = table
      .split('\n')
      .slice(2, -2)
      .map((row) => row.split('|')[1] ?? '')
    const listed = cells.flatMap((cell) => {
      // "`POST /a`, then `HEAD`, `PATCH /b`" and "`GET /a`, `/b`": what is left out is as before, or as what follows.
      const words = [...cell.matchAll(/`([A-Z]+)? ?(\/[^`?]*)?[^`]*`/g)].map(([, method, path]) => ({ method, path }))
      return words.map(({ method, path }, at) => {
        const before = words.slice(0, at).findLast((word) => word.method)?.method
        const after = words.slice(at).find((word) => word.path)?.path
        return `${method ?? before} ${(path ?? after ?? '').replaceAll(/:(\w+)/g, '{$1}')}`
      })
    })
    expect(listed.length).toBeGreaterThan(20)
    const itself = ['GET /openapi.json', 'GET /docs', 'GET /console', 'GET /metrics']
    expect(listed).toContain('PATCH /media/tus/{id}')
    for (const call of listed) expect([...itself, ...operations.map(([name]) => name)]).toContain(call)
  })

  test('asks for a token wherever one is needed', async () => {
    for (const [name, { security }] of operations)
      expect([name, security?.length === 0]).toEqual([name, !name.includes(' /media')])
  })
})

describe('the page that shows it', () => {
  test('comes from here, with everything it loads, and lets nothing else in', async () => {
    const page = await call('/docs')
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toStartWith("default-src 'none'; ")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    const html = await page.text()
    expect(html).not.toMatch(/<script>|<style| style=| on\w+=|https?:/)
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => new URL(link, `${baseUrl}/docs`))
    expect(links).toHaveLength(4)
    for (const { href, origin } of links) {
      expect(origin).toBe(baseUrl)
      const response = await fetch(href)
      expect([href, response.status, (await response.bytes()).length > 10]).toEqual([href, 200, true])
    }
  })

  test.each(['/docs', '/docs/swagger-ui-bundle.js', '/docs/start.js'])(
    '%s is sent once to who keeps it',
    async (path) => {
      const first = await call(path)
      await first.body?.cancel()
      const etag = first.headers.get('etag') ?? ''
      expect(etag).toMatch(/^".+"$/)
      const again = await call(path, { headers: { 'if-none-match': etag } })
      expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag])
    },
  )

  test.each(['/docs/index.html', '/docs/package.json', '/docs/..%2Fpackage.json', '/docs/'])(
    'has nothing but that: %s is 404',
    async (path) => {
      await expectProblem(await call(path), 404, 'not_found')
    },
  )
})

/** What `$ID` has to be for an operation that does not take any object. */
const makers: Record<string, (user: string) => Promise<string>> = {
  'POST /media/{id}/complete': async (user) => {
    const link = await presigned(user)
    expect((await put(link, await readCorpus('accept/rocket.jpg'))).status).toBe(200)
    return link.id
  },
  'POST /media/{id}/restore': async (user) => {
    const id = await made(user)
    expect((await remove(user, id)).status).toBe(204)
    return id
  },
  'GET /media/{id}/parts': begun,
  'POST /media/{id}/parts': begun,
  'DELETE /media/{id}/upload': begun,
  'POST /media/{id}/upload': begun,
  'GET /media/{id}/upload': begun,
  'HEAD /media/tus/{id}': tus,
  'PATCH /media/tus/{id}': tus,
  'DELETE /media/tus/{id}': tus,
}

async function made(user: string): Promise<string> {
  return (await uploaded(user)).id
}

async function begun(user: string): Promise<string> {
  const json = { filename: 'a.jpg', fileType: 'image/jpeg', size: 12_000_000 }
  const response = await call('/media/multipart', { as: user, method: 'POST', json })
  return (await answered<{ id: string }>(200, response)).id
}

async function tus(user: string): Promise<string> {
  const { size } = Bun.file(join(folder.path, 'rocket.jpg'))
  const headers = {
    'tus-resumable': '1.0.0',
    'upload-length': String(size),
    'upload-metadata': `filetype ${btoa('image/jpeg')}`,
  }
  const response = await call('/media/tus', { as: user, method: 'POST', headers })
  expect(response.status).toBe(201)
  return response.headers.get('location')?.split('/').at(-1) ?? ''
}

/** Runs a line of curl where its picture lies; what is not 2xx in the end makes it fail. */
async function run(
  line: string,
  env: { T: string; ID: string },
  seconds = 20,
): Promise<{ code: number; complaint: string }> {
  const script = `curl() { command curl --silent --show-error --fail-with-body --max-time ${seconds} "$@"; }\n${line}`
  const { PATH } = process.env
  const child = Bun.spawn(['sh', '-c', script], {
    cwd: folder.path,
    env: { PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { code, complaint: code === 0 ? '' : `${err}${out}` }
}
