import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { cp, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { createRedisEventBus } from '../src/events/redis.ts'
import { until } from './support/http/client.ts'
import { freePort } from './support/process/port.ts'
import { signalTree, tied, waitUntilGone } from './support/process/process.ts'
import { createRecordingLog } from './support/process/recording-log.ts'
import { fencedBlocks, GUIDES, readPages } from './support/readme.ts'
import { repository } from './support/repository.ts'
import { createBucketName, removeBucket } from './support/services/buckets.ts'
import { createFolder, type Folder } from './support/services/folder.ts'
import { haveServices, services } from './support/services/shared.ts'

const guides = await readPages(...GUIDES)
const blocks = await fencedBlocks('sh')
const about = (word: string) => {
  const found = blocks.filter((block) => block.includes(word))
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} blocks with ${word}`)
  return found[0]
}
const [DEV, TEST, LISTEN, COMPOSE, RECONCILE, STORE_CHECK] = [
  about('run dev'),
  about('run test'),
  about('redis-cli '),
  about('docker compose'),
  about('bun run reconcile'),
  about('bun run store-check'),
]
const CURL = blocks.filter((block) => block.startsWith('curl '))
const inline = [...guides.matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text)

test('every command of the README and the guides is tried here', () => {
  // The test command is what runs this (test/workflows.test.ts).
  expect(CURL).toHaveLength(2)
  expect(new Set(blocks)).toEqual(new Set([DEV, TEST, ...CURL, LISTEN, RECONCILE, STORE_CHECK, COMPOSE]))
})

describe('in a folder with nothing but the repository', () => {
  let folder: Folder
  let root: string
  let child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>
  let written = ''
  let given: Record<string, string>

  beforeAll(async () => {
    folder = await createFolder()
    root = join(folder.path, 'media-service')
    const settings = ['package.json', 'bun.lock', 'bunfig.toml', 'tsconfig.json']
    for (const file of [...settings, 'src', 'sql', 'examples', 'test/corpus'])
      await cp(join(repository, file), join(root, file), {
        recursive: true,
        filter: (path) => !['dist', 'node_modules'].includes(basename(path)),
      })
    const { PATH = '', HOME = '', TMPDIR } = process.env
    given = { PATH: `${dirname(process.execPath)}:${PATH}`, HOME, ...(TMPDIR && { TMPDIR }) }
    const env = { ...given, PORT: String(await freePort()) }
    child = Bun.spawn(tied(['sh', '-c', DEV]), { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) void collect(stream)
    await until(() => expect(written).toContain('Every setting:'), 90_000)
  }, 100_000)
  afterAll(async () => {
    await end()
    await folder.remove()
  }, 60_000)

  async function collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) written += text
  }

  async function end(): Promise<void> {
    if (child.exitCode === null) await waitUntilGone(signalTree(child.pid, 'SIGTERM'))
  }

  /** Runs it as written, but that curl is told to fail where it was refused. */
  async function run(line: string, env: Record<string, string> = {}): Promise<string> {
    const script = `curl() { command curl --silent --show-error --fail-with-body --max-time 20 "$@"; }\n${line}`
    const shell = Bun.spawn(['sh', '-c', script], {
      cwd: root,
      env: { ...given, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [code, out, err] = await Promise.all([
      shell.exited,
      new Response(shell.stdout).text(),
      new Response(shell.stderr).text(),
    ])
    expect([line, code, code === 0 ? '' : out + err]).toEqual([line, 0, ''])
    return out
  }

  test('the service starts with one command, and every call does what is shown', async () => {
    const [, address = ''] = /media service is at (\S+),/.exec(written) ?? []
    const [, T = ''] = /token[^\n]*\n\s+(\S+)/.exec(written) ?? []
    let env: Record<string, string> = { T, M: `${address}/media` }
    for (const line of CURL.flatMap((block) => block.split('\n'))) {
      const out = await run(line, env)
      if (!line.endsWith('/presign')) continue
      const { id, uploadUrl } = JSON.parse(out)
      env = { ...env, ID: id, UPLOAD_URL: uploadUrl }
    }
    // It built the page, which was not there.
    expect((await fetch(`${address}/console/page.js`)).status).toBe(200)
    const picture = Buffer.from(await Bun.file(join(root, 'picture.jpg')).arrayBuffer())
    const sent = Buffer.from(await Bun.file(join(root, 'test/corpus/accept/rocket.jpg')).arrayBuffer())
    expect(picture.equals(sent)).toBe(true)
    const [shown = ''] = await fencedBlocks('json', 'docs/api.md')
    const object = JSON.parse(await run(`curl -H "Authorization: Bearer $T" $M/$ID`, env))
    const { signedUrl, signedUrlExpiresAt, ...plain } = object
    expect([signedUrl, signedUrlExpiresAt]).toEqual([expect.any(String), expect.any(String)])
    expect(Object.keys(plain)).toEqual(Object.keys(JSON.parse(shown)))
  }, 60_000)

  test('the other commands run there when it has been stopped', async () => {
    await end()
    const commands = inline.filter((text) => /^bun run [\w:]+( --\w+)?$/.test(text))
    expect(new Set(commands)).toContain('bun run config')
    for (const line of new Set([...commands, ...RECONCILE.split('\n')]))
      if (/run (config|upkeep|reconcile)/.test(line)) await run(line)
  }, 60_000)
})

describe.skipIf(!(await haveServices()) || !Bun.which('redis-cli'))('redis-cli', () => {
  test('hears the events as shown', async () => {
    const { redisUrl } = await services()
    // It has no setting for where Redis is.
    const folder = await createFolder()
    const { hostname, port, password } = new URL(redisUrl)
    const script = `#!/bin/sh\nexec ${Bun.which('redis-cli')} -h ${hostname} -p ${port} "$@"\n`
    await writeFile(join(folder.path, 'redis-cli'), script, { mode: 0o755 })
    const env = { PATH: `${folder.path}:${process.env.PATH}`, REDISCLI_AUTH: decodeURIComponent(password) }
    const child = Bun.spawn(tied(['sh', '-c', LISTEN]), { env, stdio: ['ignore', 'pipe', 'ignore'] })
    let heard = ''
    const reading = (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) heard += text
    })()
    await until(() => expect(heard.match(/^subscribe$/gm)).toHaveLength(2))
    const bus = await createRedisEventBus({ url: redisUrl, log: createRecordingLog().log })
    const [shown = ''] = await fencedBlocks('json', 'docs/events.md')
    await bus.publish([{ channel: 'photo:uploaded', payload: JSON.parse(shown) }])
    await until(() => expect(heard).toContain(JSON.parse(shown).eventId))
    await bus.close()
    await waitUntilGone(signalTree(child.pid, 'SIGTERM'))
    await reading
    await folder.remove()
  }, 30_000)
})

describe.skipIf(!(await haveServices()))('bun run store-check', () => {
  test('finds the store of the tests fit, and runs the storage contract on it', async () => {
    const { s3 } = await services()
    const bucket = createBucketName()
    const line = STORE_CHECK.replace(/https:\S+?\/empty-bucket/, `${s3.endpoint}/${bucket}`)
    expect(line).toContain(bucket)
    const { PATH = '', HOME = '', TMPDIR } = process.env
    const key = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey }
    const env = { PATH: `${dirname(process.execPath)}:${PATH}`, HOME, ...(TMPDIR && { TMPDIR }), ...key }
    const child = Bun.spawn(tied(['sh', '-c', line]), { cwd: repository, env, stdout: 'pipe', stderr: 'pipe' })
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    await removeBucket(bucket)
    expect(out + err).toMatch(/half a part +refused/)
    expect(out + err).toMatch(/^ +[1-9]\d+ pass$/m)
    expect(await child.exited).toBe(0)
  }, 120_000)
})
