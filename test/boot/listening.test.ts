import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../support/process/port.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

/** A main module that listens as the service does, without the service. */
const PROGRAM = `
import { requirePort, whenListening } from '${join(repository, 'src/boot/listening.ts')}'
const [host, port, early] = process.argv.slice(2)
const address = { host, port: Number(port) }
if (early === 'early') await requirePort(address)
console.log('opened')
whenListening(address, async () => {
  console.log((await fetch('http://' + host + ':' + port)).status)
  process.exit(0)
})
export default { hostname: host, port: address.port, fetch: () => new Response('here'), development: false, reusePort: false }
`

let folder: Folder
let program: string
beforeAll(async () => {
  folder = await createFolder()
  program = join(folder.path, 'main.ts')
  await Bun.write(program, PROGRAM)
})
afterAll(() => folder.remove())

async function run(...args: string[]) {
  const child = Bun.spawn([process.execPath, '--no-env-file', program, ...args], { stdout: 'pipe', stderr: 'pipe' })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { stdout, stderr, code }
}

describe('a service', () => {
  test('begins its work once it listens', async () => {
    const { stdout, code } = await run('127.0.0.1', String(await freePort()), 'early')
    // Between both is the runtime's own line.
    expect([stdout, code]).toEqual([expect.stringMatching(/^opened\nStarted server: .+\n200\n$/), 0])
  })

  test.each([
    ['before it opens anything', 'early', ''],
    ['when the runtime listens', 'late', 'opened\n'],
  ])('says in one line that the port is in use, %s', async (_, when, stdout) => {
    const port = await freePort()
    const other = createServer()
    await new Promise<void>((resolve) => other.listen({ host: '127.0.0.1', port }, resolve))
    try {
      const stderr = `PORT: ${port} on 127.0.0.1 is in use; set PORT to another\n`
      expect(await run('127.0.0.1', String(port), when)).toEqual({ stdout, stderr, code: 1 })
    } finally {
      other.close()
    }
  })

  test('says in one line that it cannot listen on an address', async () => {
    const { stderr, code } = await run('203.0.113.1', String(await freePort()), 'late')
    expect([stderr, code]).toEqual([expect.stringMatching(/^PORT: \d+ on 203\.0\.113\.1 cannot be .+\n$/), 1])
  })
})
