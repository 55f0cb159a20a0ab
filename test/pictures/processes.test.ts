/** Decoder processes as the operating system sees them, and what becomes of them when others end. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../support/clock/until.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { decodersOf, failureOf, job, noise, openPool, renditionOf, slowJob } from '../support/pictures/pool.ts'
import { tied, waitUntilGone } from '../support/process/process.ts'
import { commandFor } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'

setDefaultTimeout(60_000)

const PROGRAM = join(repository, 'test/support/pictures/program.ts')
const rocket = await readCorpus('accept/rocket.jpg')
const rendition = () => job(renditionOf('image/jpeg', 640, 427), rocket)

describe.if(process.platform === 'linux')('a decoder process', () => {
  const pool = openPool({ decoderMemoryBytes: 400 * 1024 * 1024, decoderCpuSeconds: 7 })
  let pid = 0
  beforeAll(async () => {
    process.env.SECRET_OF_THE_SERVICE = 'hidden'
    await pool.run(rendition())
    delete process.env.SECRET_OF_THE_SERVICE
    pid = decodersOf()[0] ?? 0
  })
  const fileOf = (name: string) => readFile(`/proc/${pid}/${name}`, 'utf8')

  test('has an environment of its own, without a secret', async () => {
    const names = (await fileOf('environ')).split('\0').map((line) => line.split('=')[0] ?? '')
    expect(names).toContain('PATH')
    // PWD and its kin come from the shell.
    const expected = /^(PATH|HOME|PWD|OLDPWD|SHLVL|_|MALLOC_\w+|UV_THREADPOOL_SIZE|BUN_\w+|MIMALLOC_\w+|)$/
    expect(names.filter((name) => !expected.test(name))).toEqual([])
  })

  test('has limits on data and CPU time, and writes no core', async () => {
    const limits = await fileOf('limits')
    const [, data] = /^Max data size +(\d+)/m.exec(limits) ?? []
    expect(Number(data)).toBeGreaterThan(400 * 1024 * 1024)
    expect(Number(data)).toBeLessThan(1024 * 1024 * 1024)
    expect(limits).toMatch(/^Max cpu time +710 +710/m)
    expect(limits).toMatch(/^Max core file size +0 +0/m)
  })

  test('gives way to others, and is the first to be killed for want of memory', async () => {
    expect(await fileOf('oom_score_adj')).toBe('1000\n')
    const fields = (await fileOf('stat')).split(') ')[1]?.split(' ') ?? []
    const [group, nice] = [fields[2], fields[16]]
    expect(group).toBe(String(pid))
    expect(Number(nice)).toBeGreaterThanOrEqual(10)
  })

  test('has no connection', async () => {
    const links = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`)))
    const sockets = links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
    const tables = await Promise.all(
      ['tcp', 'tcp6', 'udp', 'udp6'].map((name) => fileOf(`net/${name}`).catch(() => '')),
    )
    const inodes = new Set(tables.flatMap((table) => table.split('\n').map((line) => line.trim().split(/\s+/)[9])))
    expect(sockets.filter((inode) => inodes.has(inode))).toEqual([])
  })
})

test('a process that others kill at work is nobody’s fault, and the next job has another one', async () => {
  const pool = openPool()
  const others = decodersOf()
  await pool.run(rendition())
  const [pid = 0] = decodersOf().filter((decoder) => !others.includes(decoder))
  const failure = failureOf(pool.run(await slowJob()))
  await until(async () => pool.usage().busy === 1 && (await isAtWork(pid)))
  process.kill(pid, 'SIGKILL')
  expect(await failure).toMatchObject({ kind: 'not-done', code: 'overloaded' })
  expect((await pool.run(rendition())).width).toBe(640)
  expect(pool.usage().outcomes).toEqual({ done: 2, 'bad-bytes': 0, 'too-dear': 0, 'not-done': 1 })
})

test('a process is given a number of jobs, and ended when there is none for some time', async () => {
  const pool = openPool({ jobsPerProcess: 2, idleMs: 20 })
  const before = new Set(decodersOf())
  const seen = new Set<number>()
  for (let jobs = 0; jobs < 3; jobs += 1) {
    await pool.run(rendition())
    for (const pid of decodersOf()) if (!before.has(pid)) seen.add(pid)
  }
  expect(seen.size).toBeGreaterThanOrEqual(2)
  await until(() => pool.usage().processes === 0)
})

test('stopping waits for jobs within a time, then ends them as nobody’s fault, and leaves no process', async () => {
  const [patient, hurried] = [openPool(), openPool()]
  const [done, failure] = [patient.run(rendition()), failureOf(hurried.run(await slowJob()))]
  await until(() => hurried.usage().processes === 1)
  await Promise.all([patient.stop(30_000), hurried.stop(10)])
  expect((await done).width).toBe(640)
  expect(await failure).toMatchObject({ kind: 'not-done' })
  for (const pool of [patient, hurried]) {
    expect(pool.usage()).toMatchObject({ processes: 0, busy: 0, waiting: 0 })
    expect(await failureOf(pool.run(rendition()))).toMatchObject({ kind: 'not-done', code: 'overloaded' })
  }
})

describe.each(['bun', 'deno'] as const)('a service on %s', (runtime) => {
  let folder: Folder
  let command: string[]
  beforeAll(async () => {
    folder = await createFolder()
    const [quick, slow] = [join(folder.path, 'quick.jpg'), join(folder.path, 'slow.jpg')]
    await writeFile(quick, rocket)
    await writeFile(slow, await noise(1000, 1000).jpeg().toBuffer())
    const [program = '', ...words] = commandFor(runtime, 0)
    const run = runtime === 'bun' ? [] : ['run', '--no-lock', ...words.filter((word) => word.startsWith('--allow'))]
    command = tied([program, ...run, PROGRAM, quick, slow])
  })
  afterAll(() => folder.remove())

  const start = () => {
    const child = Bun.spawn(command, { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
    const running = { child, written: '' }
    void (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) running.written += text
    })()
    return running
  }

  test('decodes in processes of its own runtime, and ends when it has stopped them', async () => {
    const running = start()
    expect(await running.child.exited).toBe(0)
    const [first, , busy, slow, stopped] = running.written.split('\n')
    expect(first).toMatch(/^640x427 \d+ #[0-9a-f]{6}$/)
    expect([busy, stopped]).toEqual(['busy', 'stopped'])
    expect(slow).toMatch(/^1000x1000 \d{4,}/)
  })

  test.if(process.platform === 'linux')(
    'leaves no decoder behind when it is killed, at work or idle',
    async () => {
      const running = start()
      await until(() => running.written.includes('busy'))
      const decoders = decodersOf(running.child.pid)
      expect(decoders).toHaveLength(2)
      await until(async () => (await Promise.all(decoders.map(isAtWork))).includes(true))
      running.child.kill('SIGKILL')
      await running.child.exited
      await waitUntilGone(decoders, 5000)
      expect(running.written).not.toContain('1000x1000')
    },
    60_000,
  )
})

/** Whether it has one of its threads on a processor, or waiting for it. */
async function isAtWork(pid: number): Promise<boolean> {
  const cpu = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ').slice(11, 13).join()
  const before = await cpu()
  await Bun.sleep(60)
  return before !== (await cpu())
}
