import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { runToEnd } from './support/process/process.ts'
import { repository } from './support/repository.ts'
import { createFolder, type Folder } from './support/services/folder.ts'

const MOST_BYTES = 8 * 1024

test('the client is small in a page', async () => {
  const entrypoints = [join(repository, 'src/client/client.ts')]
  const { outputs } = await Bun.build({ entrypoints, target: 'browser', minify: true })
  expect(outputs.length).toBe(1)
  expect(Bun.gzipSync(new Uint8Array(await outputs[0]!.arrayBuffer())).length).toBeLessThan(MOST_BYTES)
})

describe('whoever installs the package', () => {
  let folder: Folder
  let home: string
  beforeAll(async () => {
    folder = await createFolder()
    home = join(folder.path, 'home')
    const modules = join(folder.path, 'node_modules')
    await mkdir(join(modules, '@hono'), { recursive: true })
    await mkdir(home)
    const { PATH = '' } = process.env
    const env = { PATH, HOME: home, npm_config_update_notifier: 'false' }
    // Apart from the repository, for packing builds files.
    const source = join(folder.path, 'source')
    for (const file of ['package.json', 'tsconfig.json', 'src'])
      await cp(join(repository, file), join(source, file), { recursive: true })
    await symlink(join(repository, 'node_modules'), join(source, 'node_modules'))
    await runToEnd(['npm', 'pack', '--pack-destination', folder.path], { cwd: source, env })
    await runToEnd(['sh', '-c', 'tar -xzf *.tgz && mv package node_modules/media-service'], { cwd: folder.path, env })
    // As installed beside it; npm would ask the registry.
    for (const name of ['zod', 'hono', '@hono/zod-openapi', '@asteasolutions', 'openapi3-ts'])
      await symlink(join(repository, 'node_modules', name), join(modules, name))
  }, 120_000)
  afterAll(() => folder?.remove(), 60_000)

  const PROGRAM = `import { createMediaClient, MediaError } from 'media-service/client'
const client = createMediaClient({ baseUrl: 'http://127.0.0.1:9', token: 'x' })
const error = await client.get('x', { signal: AbortSignal.abort(new Error('stopped')) }).catch((error) => error)
console.log(error.message, error instanceof MediaError)`

  test.each(['node', 'bun', 'deno'])('imports it with %s', async (runtime) => {
    await Bun.write(join(folder.path, 'program.mjs'), PROGRAM)
    const bun = process.execPath
    const command = {
      node: ['node', 'program.mjs'],
      bun: [bun, 'program.mjs'],
      deno: [
        join(repository, 'node_modules/.bin/deno'),
        'run',
        '--node-modules-dir=manual',
        '--no-lock',
        'program.mjs',
      ],
    }[runtime]
    const child = Bun.spawn(command ?? [], {
      cwd: folder.path,
      env: { PATH: process.env.PATH, HOME: home },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    expect([out.trim(), err.replace(/^Warning.*$/gm, '').trim()]).toEqual(['stopped false', ''])
  })

  test('has its types', async () => {
    await Bun.write(
      join(folder.path, 'program.mts'),
      `import { createMediaClient, type MediaObject } from 'media-service/client'
const client = createMediaClient({ baseUrl: '' })
const media: MediaObject = await client.upload(new Blob(), { visibility: 'public' })
const width: number | null = media.metadata.width
for await (const { signedUrl, renditions } of client.list({ renditions: [320] })) console.log(signedUrl, renditions?.[0]?.url, width)
// @ts-expect-error a visibility that there is not
await client.update(media.id, { visibility: 'secret' })
`,
    )
    const options = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'esnext',
      '--types',
      '',
      '--lib',
      'esnext,dom,dom.iterable,dom.asynciterable',
      '--skipLibCheck',
    ]
    const child = Bun.spawn([join(repository, 'node_modules/.bin/tsc'), ...options, 'program.mts'], {
      cwd: folder.path,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    expect(await new Response(child.stdout).text()).toBe('')
    expect(await child.exited).toBe(0)
  }, 60_000)
})
