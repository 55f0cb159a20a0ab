import { afterAll, beforeAll, beforeEach } from 'bun:test'
import { createAuthenticate } from '../../../src/auth/auth.ts'
import { developmentToken } from '../../../src/auth/development.ts'
import { connect } from '../../../src/db/connect.ts'
import { createMemoryEventBus } from '../../../src/events/memory.ts'
import { type AppDeps, createApp } from '../../../src/http/app.ts'
import { createUploadMemory } from '../../../src/http/body/memory.ts'
import { NO_QUOTAS } from '../../../src/media/object/quota.ts'
import { createRenditionLinks } from '../../../src/media/renditions/links.ts'
import { createRepository } from '../../../src/media/table/repository.ts'
import { createRequestLog } from '../../../src/observe/request-log.ts'
import { createDiskStorage } from '../../../src/storage/disk/storage.ts'
import { DEFAULT_AUTH } from '../http/authentication.ts'
import { domainOn } from '../media/domain.ts'
import { DEFAULT_TYPES } from '../pictures/corpus.ts'
import { createRecordingLog, type Line } from '../process/recording-log.ts'
import { createFolder, type Folder } from '../services/folder.ts'

const SECRET = 'a secret of thirty-two characters'
const limits = {
  maxUploadBytes: 1000,
  maxObjectBytes: 1000,
  renditionSizes: [160, 320],
  signedUrlSeconds: 900,
  uploadUrlSeconds: 900,
  quotas: NO_QUOTAS,
}

export type OfflineApp = {
  /** Made anew for each test, as the lines of its log are. */
  readonly deps: AppDeps
  readonly lines: Line[]
  /** Of a user. */
  readonly authorization: string
  ask(method: string, path: string, headers?: Record<string, string>, some?: Partial<AppDeps>): Promise<Response>
}

/** The HTTP part on a database that does not answer: what is asked does not get that far, or is about just that. */
export function offlineApp(): OfflineApp {
  const sql = connect({ url: 'postgres://nobody@127.0.0.1:1/none' })
  let folder: Folder
  let deps: AppDeps
  let lines: Line[]
  let authorization: string
  beforeAll(async () => {
    folder = await createFolder()
    authorization = `Bearer ${await developmentToken(SECRET)}`
  })
  afterAll(async () => {
    await sql.end({ timeout: 1 })
    await folder.remove()
  })
  beforeEach(async () => {
    const recording = createRecordingLog()
    const { log } = recording
    lines = recording.lines
    const now = Date.now
    const disk = await createDiskStorage({ root: folder.path, linkSecrets: [SECRET], maxBytes: 1000, now })
    const repository = createRepository({ sql, pendingSeconds: 100, retentionSeconds: 100 })
    const events = createMemoryEventBus()
    const allowedTypes = DEFAULT_TYPES
    const { media, liveEvents } = domainOn({ repository, storage: disk, events, log }, limits)
    deps = {
      media,
      limiter: undefined,
      trustedProxies: 0,
      userIds: DEFAULT_AUTH.userIds,
      authenticate: createAuthenticate({ ...DEFAULT_AUTH, jwtSecrets: [SECRET] }),
      publicBaseUrl: undefined,
      maxUploadBytes: limits.maxUploadBytes,
      fileLimits: { ...limits, allowedTypes },
      renditionLinks: createRenditionLinks({ secrets: [SECRET], sizes: limits.renditionSizes, seconds: 900, now }),
      uploadMemory: createUploadMemory(1024 * 1024),
      console: {
        ...{ storage: disk, developmentToken: undefined, publicBaseUrl: undefined, cdnBaseUrl: undefined },
        ...{ allowedTypes, maxObjectBytes: limits.maxObjectBytes, retentionSeconds: 100 },
      },
      corsOrigins: [],
      liveEvents,
      checks: { database: async () => {}, storage: async () => {}, events: async () => {} },
      metrics: { text: async () => '', contentType: 'text/plain' },
      stopping: () => false,
      closing: () => false,
      disk,
      onRequest: createRequestLog({ log, trusted: log }),
    }
  })

  return {
    get deps() {
      return deps
    },
    get lines() {
      return lines
    },
    get authorization() {
      return authorization
    },
    ask: async (method, path, headers = {}, some = {}) =>
      createApp({ ...deps, ...some }).request(path, { method, headers }),
  }
}
