import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createAuthenticate } from '../../src/auth/auth.ts'
import { developmentToken } from '../../src/auth/development.ts'
import { createMemoryEventBus } from '../../src/events/memory.ts'
import { type AppDeps, createApp } from '../../src/http/app.ts'
import { createUploadMemory } from '../../src/http/body/memory.ts'
import { NO_QUOTAS } from '../../src/media/object/quota.ts'
import { createRenditionLinks } from '../../src/media/renditions/links.ts'
import { createRepository } from '../../src/media/table/repository.ts'
import { DecodeFailure } from '../../src/pictures/decoding.ts'
import { createDiskStorage } from '../../src/storage/disk/storage.ts'
import { until } from '../support/clock/until.ts'
import { DEFAULT_AUTH } from '../support/http/authentication.ts'
import { domainOn } from '../support/media/domain.ts'
import { DEFAULT_TYPES, readCorpus } from '../support/pictures/corpus.ts'
import { createInProcessDecoders } from '../support/pictures/in-process.ts'
import { createRecordingLog } from '../support/process/recording-log.ts'
import type { OpenDatabase } from '../support/services/databases.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { openPGlite } from '../support/services/pglite.ts'

const SECRET = 'a secret of thirty-two characters'
const ORIGIN = 'http://media.test'
const rocket = await readCorpus('accept/rocket.jpg')
const limits = {
  ...{ maxUploadBytes: 1e6, maxObjectBytes: 1e6, renditionSizes: [160, 320], signedUrlSeconds: 900 },
  ...{ uploadUrlSeconds: 900, quotas: NO_QUOTAS, allowedTypes: DEFAULT_TYPES },
}

let database: OpenDatabase
let folder: Folder
beforeAll(async () => {
  database = await openPGlite({ migrated: true })
  folder = await createFolder()
}, 60_000)
afterAll(async () => {
  await folder.remove()
  await database.close()
}, 30_000)

test('while every decoder hangs and pictures queue for them, all else is answered', async () => {
  const { log } = createRecordingLog()
  const now = Date.now
  const disk = await createDiskStorage({ root: folder.path, linkSecrets: [SECRET], maxBytes: 1e6, now })
  const repository = createRepository({ sql: database.sql, pendingSeconds: 1000, retentionSeconds: 1000 })
  const events = createMemoryEventBus()
  const hanging: (() => void)[] = []
  const perform = () =>
    new Promise<never>((_, reject) => hanging.push(() => reject(new DecodeFailure('not-done', 'overloaded', 'ended'))))
  const decoders = createInProcessDecoders({ perform })
  const domain = domainOn({ repository, storage: disk, events, decoders, log }, limits)
  const deps: AppDeps = {
    media: domain.media,
    limiter: undefined,
    trustedProxies: 0,
    userIds: DEFAULT_AUTH.userIds,
    authenticate: createAuthenticate({ ...DEFAULT_AUTH, jwtSecrets: [SECRET] }),
    publicBaseUrl: ORIGIN,
    maxUploadBytes: 1e6,
    fileLimits: limits,
    renditionLinks: createRenditionLinks({ secrets: [SECRET], sizes: limits.renditionSizes, seconds: 900, now }),
    uploadMemory: createUploadMemory(1e7),
    corsOrigins: [],
    liveEvents: domain.liveEvents,
    checks: { database: repository.health.check, storage: disk.check, events: events.check },
    metrics: { text: async () => '', contentType: 'text/plain' },
    stopping: () => false,
    closing: () => false,
    disk,
    onRequest: () => {},
  }
  const app = createApp(deps)
  const authorization = `Bearer ${await developmentToken(SECRET)}`
  const ask = async (path: string, init: RequestInit = {}) =>
    app.request(`${ORIGIN}${path}`, { ...init, headers: { authorization, ...init.headers } })
  const upload = async () => {
    const form = new FormData()
    form.set('file', new File([rocket], 'rocket.jpg'))
    form.set('visibility', 'public')
    const answer = await ask('/media/upload', { method: 'POST', body: form })
    expect(answer.status).toBe(201)
    return ((await answer.json()) as { id: string }).id
  }

  const ids = await Promise.all(Array.from({ length: 4 }, upload))
  const asked = ids.flatMap((id) => ['w=160', 'w=320', ''].map((query) => `/media/${id}/content?${query}`))
  // Of a stranger, who is shown nothing but what is decoded, the copy too.
  const waiting = asked.map((path) => app.request(`${ORIGIN}${path}`))
  await until(() => hanging.length === asked.length)
  await database.sql`UPDATE media_objects SET placeholder_due_at = now()`
  const pass = domain.upkeep.run()
  await until(() => hanging.length === asked.length + 1)

  const [first = ''] = ids
  for (const path of ['/health/live', '/health/ready', '/media', '/media?renditions=160', `/media/${first}`])
    expect([path, (await ask(path)).status]).toEqual([path, 200])
  expect((await ask(`/media/${first}/content`)).status).toBe(302)
  await upload()
  const json = { 'content-type': 'application/json' }
  const declared = JSON.stringify({ filename: 'r.jpg', fileType: 'image/jpeg', size: rocket.length })
  const presigned = await ask('/media/presign', { method: 'POST', headers: json, body: declared })
  const link = (await presigned.json()) as { id: string; uploadUrl: string; headers: Record<string, string> }
  const { pathname, search } = new URL(link.uploadUrl)
  expect((await ask(pathname + search, { method: 'PUT', headers: link.headers, body: rocket })).status).toBe(200)
  expect((await ask(`/media/${link.id}/complete`, { method: 'POST' })).status).toBe(200)
  const change = { method: 'PATCH', headers: json, body: JSON.stringify({ visibility: 'private' }) }
  expect((await ask(`/media/${first}`, change)).status).toBe(200)
  expect((await ask(`/media/${first}`, { method: 'DELETE' })).status).toBe(204)

  for (const end of hanging) end()
  for (const answer of waiting) expect((await answer).status).toBe(503)
  expect((await pass).failed).toEqual([])
}, 60_000)
