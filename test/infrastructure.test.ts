import { expect, test } from 'bun:test'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { differences, PAGE, withTried } from './infrastructure.ts'
import { repository } from './support/repository.ts'
import { createFolder } from './support/services/folder.ts'
import { type Part, readTried, type SetUp } from './support/tried.ts'

const setUp: SetUp = {
  store: 'MinIO',
  database: 'Postgres',
  redis: 'Redis, standalone',
  gateway: 'none',
  identity: '`GATEWAY_SECRET`',
  runtime: 'Bun',
}
const part: Part = { kind: 'gateway', name: 'Traefik', version: '3.1', runtime: 'Bun' }

test('the page lacks what was run and is not there, and invents what is there and was not run', async () => {
  const page = await Bun.file(PAGE).text()
  const one = withTried(page, { setUps: [setUp], parts: [part] })
  const both: SetUp[] = [setUp, { ...setUp, runtime: 'Deno' }]
  const other = withTried(page, { setUps: both, parts: [{ ...part, version: '3.2' }] })
  expect(one).toContain('| MinIO | Postgres | Redis, standalone | none | `GATEWAY_SECRET` | yes | no |')
  expect(one).toContain('| gateway | Traefik | 3.1 | yes | no |')
  expect(one).not.toContain('| gateway | Traefik | not run')
  expect(differences(one, one)).toEqual({ lacks: [], invents: [] })
  expect(differences(one, other)).toEqual({
    lacks: ['| MinIO | Postgres | Redis, standalone | none | `GATEWAY_SECRET` | yes | yes |'],
    invents: ['| MinIO | Postgres | Redis, standalone | none | `GATEWAY_SECRET` | yes | no |'],
  })
  const none = withTried(page, { setUps: [setUp], parts: [] })
  expect(differences(one, none)).toEqual({
    lacks: ['| gateway | Traefik | not run | no | no |'],
    invents: ['| gateway | Traefik | yes | no |'],
  })
})

test('the page is as the script writes it, with each row once', async () => {
  const page = await Bun.file(PAGE).text()
  const rows = page.split('\n').filter((line) => /^\| .* \| (yes|no) \|$/.test(line))
  expect(rows.length).toBeGreaterThan(20)
  expect(new Set(rows).size).toBe(rows.length)
})

test('a test notes what it runs on, once for each process', async () => {
  const folder = await createFolder()
  const into = join(folder.path, 'tried')
  await mkdir(into)
  const started = {
    ...{ database: { name: 'postgres', version: '15.18 (Debian 15.18-0+deb12u1)' }, runtime: 'deno 2.9.6' },
    ...{ storage: { name: 's3', server: 'MinIO' }, events: { name: 'redis', mode: 'standalone', version: '7.0.15' } },
    msg: 'service: started',
  }
  const script = `
    const { triedService } = await import(${JSON.stringify(join(repository, 'test/support/tried.ts'))})
    for (let i = 0; i < 2; i++) triedService('http://127.0.0.1:1', ${JSON.stringify(`x\n${JSON.stringify(started)}\n`)}, { GATEWAY_SECRET: 'a' })`
  const child = Bun.spawn([process.execPath, '-e', script], { env: { ...process.env, TRIED_FOLDER: into } })
  expect(await child.exited).toBe(0)
  const { setUps, parts } = readTried(into)
  expect(setUps).toEqual([{ ...setUp, runtime: 'Deno' }])
  expect(parts.map(({ kind, name, version }) => [kind, name, version])).toEqual([
    ['database', 'Postgres', '15.18'],
    ['store', 'MinIO', null],
    ['Redis', 'Redis, standalone', '7.0.15'],
    ['runtime', 'Deno', '2.9.6'],
    ['identity', '`GATEWAY_SECRET`', null],
  ])
  await folder.remove()
})
