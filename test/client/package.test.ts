import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdir } from 'node:fs/promises'
import { arch, platform } from 'node:os'
import { join } from 'node:path'
import { NPM_ENV, packClient } from '../support/client-package.ts'
import { runToEnd } from '../support/process/process.ts'
import { denoBinary } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

const MOST_BYTES = 8 * 1024
// npm has each version of Node for each platform as a package without scripts.
const NODE_PACKAGE = `node-${platform()}-${arch()}`
const NODE_VERSION = '22.23.3'
const INSTALL_MS = 300_000

const PROGRAM = `import { createMediaClient, MediaError } from '@media-service/client'
const client = createMediaClient({ baseUrl: BASE_URL, token: async () => 'x' })
const { bytes } = await client.usage()
const { id } = await client.upload(new File(['abc'], 'a.png', { type: 'image/png' }))
const error = await client.get('lost').catch((error) => error)
const ending = new AbortController()
for await (const event of client.events({ signal: ending.signal })) {
  if (event.channel === 'reset') continue
  console.log(JSON.stringify([bytes, id, error instanceof MediaError, error.code, event.channel, event.payload.seq]))
  break
}
`
const PRINTED = '[7,"a.png Bearer x",true,"not_found","photo:uploaded",3]'

let folder: Folder
let tarball: string
let service: ReturnType<typeof Bun.serve>
beforeAll(async () => {
  folder = await createFolder()
  tarball = await packClient(folder.path)
  service = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: answer })
}, 60_000)
afterAll(async () => {
  await service?.stop(true)
  await folder?.remove()
}, 60_000)

/** As the service does, as far as the program asks. */
async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url)
  if (pathname === '/media/usage') return Response.json({ bytes: 7, objects: 1, quotaBytes: null, quotaObjects: null })
  if (pathname === '/media/events')
    return new Response('id: 1-0\nevent: photo:uploaded\ndata: {"seq":3}\n\n', {
      headers: { 'content-type': 'text/event-stream' },
    })
  if (pathname !== '/media/upload') return Response.json({ code: 'not_found' }, { status: 404 })
  const file = (await request.formData()).get('file')
  if (!(file instanceof File)) return Response.json({ code: 'file_missing' }, { status: 400 })
  return Response.json({ id: `${file.name} ${request.headers.get('authorization')}` }, { status: 201 })
}

/** An empty folder in which the tarball, and nothing else but these packages, is installed. */
async function installed(name: string, installer: string[], ...packages: string[]): Promise<string> {
  const home = join(folder.path, name)
  await mkdir(home)
  await Bun.write(join(home, 'package.json'), '{ "type": "module" }')
  await runToEnd([...installer, ...packages, tarball], { cwd: home, env: NPM_ENV })
  return home
}

let byNpm: Promise<string> | undefined
/** One that npm installed it in, for tests that only read what is there. */
function withNpm(): Promise<string> {
  byNpm ??= installed('npm', NPM)
  return byNpm
}

const NPM = ['npm', 'install', '--no-audit', '--no-fund', '--prefer-offline']

/** What a command wrote, to both. */
async function output(command: string[], cwd: string): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: folder.path, NO_COLOR: '1' }
  const child = Bun.spawn(command, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  await child.exited
  return `${out}${err}`.trim()
}

const program = () => PROGRAM.replace('BASE_URL', JSON.stringify(service.url.origin))

const IMPORT = /^(?:import|export)\b[^'"`;]*\bfrom\s*['"]([^'"]+)|^import\s*['"]([^'"]+)|\bimport\(['"]([^'"]+)/gm

describe('the tarball of the client', () => {
  test(
    'holds JavaScript, declarations and no dependency; nothing in it imports anything from outside',
    async () => {
      const home = await withNpm()
      expect(
        await Array.fromAsync(new Bun.Glob('*').scan({ cwd: join(home, 'node_modules'), onlyFiles: false })),
      ).toEqual(['@media-service'])
      const client = join(home, 'node_modules', '@media-service', 'client')
      const { dependencies, peerDependencies, version } = await Bun.file(join(client, 'package.json')).json()
      expect([dependencies, peerDependencies]).toEqual([undefined, undefined])
      expect(version).toBe((await Bun.file(join(repository, 'package.json')).json()).version)
      const files = await Array.fromAsync(new Bun.Glob('**').scan(client))
      expect(files.filter((file) => !/^dist\/\w+(\.d\.ts|\.js)$/.test(file))).toEqual(['package.json'])
      for (const file of files.filter((file) => file !== 'package.json')) {
        const text = await Bun.file(join(client, file)).text()
        const imports = [...text.matchAll(IMPORT)]
        const foreign = imports.map(([, ...from]) => from.join('')).filter((from) => !/^\.\/\w+\.[jt]s$/.test(from))
        expect([file, foreign]).toEqual([file, []])
        expect(text).not.toContain('reference ')
      }
    },
    INSTALL_MS,
  )

  test(
    'works in Node 22',
    async () => {
      const home = await installed('node', NPM, `${NODE_PACKAGE}@${NODE_VERSION}`)
      await Bun.write(join(home, 'program.mjs'), program())
      expect(await output([join('node_modules', NODE_PACKAGE, 'bin', 'node'), 'program.mjs'], home)).toBe(PRINTED)
    },
    INSTALL_MS,
  )

  test(
    'works in Bun, which installs it',
    async () => {
      const home = await installed('bun', [process.execPath, 'add'])
      await Bun.write(join(home, 'program.mjs'), program())
      expect(await output([process.execPath, 'program.mjs'], home)).toBe(PRINTED)
    },
    INSTALL_MS,
  )

  test(
    'works in Deno, which finds its types',
    async () => {
      const home = await installed('deno', NPM)
      await Bun.write(join(home, 'program.ts'), program())
      const options = ['--check', '--quiet', '--allow-net=127.0.0.1', '--node-modules-dir=manual', '--no-lock']
      expect(await output([denoBinary(), 'run', ...options, 'program.ts'], home)).toBe(PRINTED)
    },
    INSTALL_MS,
  )

  test(
    'is small in a bundle for browsers, which needs nothing but what browsers have',
    async () => {
      const home = await withNpm()
      await Bun.write(join(home, 'page.js'), `export * from '@media-service/client'`)
      // No external modules are allowed: what the bundle does not hold is an error.
      const entrypoints = [join(home, 'page.js')]
      const { outputs } = await Bun.build({ entrypoints, target: 'browser', minify: true })
      expect(outputs.length).toBe(1)
      const script = await outputs[0]!.text()
      expect(script).not.toMatch(/\b(require|process|Buffer|Deno|Bun)\b/)
      expect(Bun.gzipSync(script).length).toBeLessThan(MOST_BYTES)
      await Bun.write(join(home, 'bundle.mjs'), script)
      const { createMediaClient } = await import(join(home, 'bundle.mjs'))
      expect((await createMediaClient({ baseUrl: service.url.origin }).usage()).bytes).toBe(7)
    },
    INSTALL_MS,
  )
})

describe('the types of the client', () => {
  const TYPED = `import { createMediaClient, type MediaObject } from '@media-service/client'
import { createHttp } from '@media-service/client/http'
const client = createMediaClient({ baseUrl: '' })
const media: MediaObject = await client.upload(new Blob(), { visibility: 'public' })
const width: number | null = media.metadata.width
for await (const { signedUrl, renditions } of client.list({ renditions: [320] })) console.log(signedUrl, renditions?.[0]?.url, width)
for await (const event of client.events()) if (event.channel !== 'reset') console.log(event.payload.seq)
const answer: { id: string } = await createHttp({ baseUrl: '' }).ask('/media/sign')
console.log(answer.id)
// @ts-expect-error a visibility that there is not
await client.update(media.id, { visibility: 'secret' })
// @ts-expect-error a field that there is not
console.log(media.sizeInBytes)
`
  let home: string
  beforeAll(async () => {
    home = await withNpm()
    await Bun.write(join(home, 'program.ts'), TYPED)
  }, INSTALL_MS)

  // Without `skipLibCheck`: the declarations themselves are checked, too.
  const OPTIONS = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022', '--types', '']
  const LIBRARIES = ['--lib', 'es2022,dom,dom.iterable,dom.asynciterable']

  test.each([
    ['bundler', ['--module', 'preserve', '--moduleResolution', 'bundler']],
    ['nodenext', ['--module', 'nodenext', '--moduleResolution', 'nodenext']],
  ])(
    'are found under moduleResolution %s',
    async (_name, resolution) => {
      const command = [join(repository, 'node_modules/.bin/tsc'), ...OPTIONS, ...LIBRARIES, ...resolution, 'program.ts']
      expect(await output(command, home)).toBe('')
    },
    60_000,
  )
})

test('the repository has it under its former name, too', async () => {
  const former = await import('media-service/client')
  expect(Object.keys(former).sort()).toEqual(['MediaError', 'createMediaClient'])
})
