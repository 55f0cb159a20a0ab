import { afterAll, beforeAll, expect, setDefaultTimeout } from 'bun:test'
import { diagnose, type Options } from '../../src/doctor/examine.ts'
import { sentenceOf } from '../../src/finding.ts'
import { JWT_SECRET } from './http/client.ts'
import { settingsFor } from './process/acceptance.ts'
import { freePort } from './process/port.ts'
import { createBucketName, removeBucket } from './services/buckets.ts'
import { createDatabase, type TestDatabase } from './services/database.ts'
import { createFolder, type Folder } from './services/folder.ts'
import { haveServices, services } from './services/shared.ts'

export type Env = Record<string, string>
/** What is wrong, and the one line that names it. */
export type WrongSetUp = [what: string, line: string, env: () => Env | Promise<Env>]

/** What the doctor says of a set-up with exactly these settings. */
export async function linesOf(env: Env, options: Options = {}): Promise<string[]> {
  const { findings } = await diagnose(env, options)
  return findings.map((finding) => `${finding.severity} ${finding.subject}: ${sentenceOf(finding)}`)
}

export async function expectOneLine(env: Env, line: string, options?: Options): Promise<void> {
  const lines = await linesOf(env, options)
  expect([lines.length, lines[0]]).toEqual([1, expect.stringContaining(line)])
}

/** A URL at which nothing answers. */
export async function closedUrl(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`
}

/** A set-up with nothing wrong about it, for the tests of a file; call it at the top. */
export async function rightSetUp() {
  setDefaultTimeout(60_000)
  const present = await haveServices()
  const ends: (() => unknown)[] = []
  let folder: Folder | undefined
  let database: TestDatabase | undefined
  let right: Env = {}
  beforeAll(async () => {
    folder = await createFolder()
    if (!present) return
    database = await createDatabase({ migrated: true })
    const bucket = createBucketName()
    const origins = 'https://app.example.com,https://www.example.com'
    const parts = settingsFor(await services(), database.url, bucket)
    right = { ...parts, AUTH_JWT_SECRET: JWT_SECRET, CORS_ORIGINS: origins }
    ends.push(database.drop, () => removeBucket(bucket))
  }, 60_000)
  afterAll(async () => {
    for (const end of ends.splice(0).reverse()) await end()
    await folder?.remove()
  }, 60_000)
  return {
    present,
    /** Run after the tests, the last one first. */
    ends,
    folder: () => folder?.path ?? '',
    databaseUrl: () => database?.url ?? '',
    settings: () => right,
    /** Without the store, whose probe takes longest. */
    withoutStore(changed: Env): Env {
      const { S3_ENDPOINT: _, S3_BUCKET: __, S3_REGION: ___, ...others } = right
      return { ...others, ...changed }
    },
  }
}
