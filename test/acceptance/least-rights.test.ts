import { afterAll, describe, expect, test } from 'bun:test'
import { createHash, createHmac } from 'node:crypto'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { answered, expectBytes, type MediaObject, newUser, type SignedMediaObject } from '../support/http/client.ts'
import { jpegOf, MiB, type Multipart, partsClient } from '../support/http/parts.ts'
import { tusCalls } from '../support/http/tus-client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { backend, openStage, type Stage } from '../support/process/acceptance.ts'
import { runUpkeep } from '../support/process/service.ts'
import { repository } from '../support/repository.ts'
import { createBucketName, removeBucket, s3Client } from '../support/services/buckets.ts'
import { createFolder, type Folder } from '../support/services/folder.ts'
import { services } from '../support/services/shared.ts'

describe.skipIf(backend === 'embedded')('a key with the rights that compose gives it', () => {
  const bucket = createBucketName()
  let folder: Folder | undefined
  let stage: Stage | undefined
  afterAll(async () => {
    try {
      await stage?.close()
    } finally {
      await removeBucket(bucket)
      await folder?.remove()
    }
  }, 30_000)

  test('is enough for everything that the service does, and for no other bucket', async () => {
    const client = await s3Client()
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    client.destroy()
    folder = await createFolder()
    const { policy, commands } = await runScript(folder.path, bucket)
    expect(commands.at(-1)).toBe('admin policy attach store bucket-only --user media-replica')
    const key = await assumeRole(policy)
    const file = join(folder.path, 'credentials')
    await Bun.write(file, asProfile(key))
    const keys = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_SHARED_CREDENTIALS_FILE: file }
    stage = await openStage({ ...keys, S3_BUCKET: bucket, CDN_BASE_URL: 'https://cdn.example.com' })
    const { call, complete, get, inside, presigned, put, remove, uploaded } = stage
    const user = newUser()
    const [rocket, large] = [await readCorpus('accept/rocket.jpg'), await jpegOf(9 * MiB)]

    const direct = await uploaded(user, 'accept/rocket.jpg', { visibility: 'public' })
    const link = await presigned(user, { size: rocket.length })
    expect((await put(link, rocket)).status).toBe(200)
    const linked = await answered<MediaObject>(200, await complete(user, link.id))
    const { begin, send } = partsClient(stage)
    const upload = await answered<Multipart>(200, await begin(user))
    await send(user, upload, large)
    const inParts = await answered<MediaObject>(200, await complete(user, upload.id))
    const tus = tusCalls(stage)
    const path = await tus.begun(user, large.length)
    expect((await tus.send(user, path, 0, large.subarray(0, MiB))).status).toBe(204)
    expect((await tus.send(user, path, MiB, large.subarray(MiB))).status).toBe(204)
    for (const { id, sizeBytes } of [direct, linked, inParts]) {
      const { signedUrl } = await answered<SignedMediaObject>(200, await get(user, id))
      await expectBytes(await fetch(signedUrl), sizeBytes === rocket.length ? rocket : large)
    }
    const rendition = await call(`/media/${direct.id}/content?w=320`, { as: user })
    expect(rendition.status).toBe(302)
    expect((await fetch(rendition.headers.get('location') ?? '')).status).toBe(200)
    await runUpkeep(stage.env)
    expect(await inside?.keys(`public/${direct.id}/`)).toHaveLength(1)
    expect((await remove(user, direct.id)).status).toBe(204)
    expect(await inside?.keys(`public/${direct.id}/`)).toEqual([])
    const begun = await answered<Multipart>(200, await begin(user))
    expect((await call(`/media/${begun.id}/upload`, { as: user, method: 'DELETE' })).status).toBe(204)

    const { endpoint, region } = (await services()).s3
    const elsewhere = new S3Client({ endpoint, region, forcePathStyle: true, credentials: key })
    const Bucket = createBucketName()
    for (const command of [
      () => elsewhere.send(new CreateBucketCommand({ Bucket })),
      () => elsewhere.send(new ListObjectsV2Command({ Bucket })),
      () => elsewhere.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a' })),
      () => elsewhere.send(new DeleteBucketCommand({ Bucket: bucket })),
    ])
      await expect(command()).rejects.toMatchObject({ name: 'AccessDenied' })
    elsewhere.destroy()
  }, 120_000)
})

type Run = { policy: string; commands: string[] }

/** What deploy/store-key.sh tells `mc`, and the policy that it makes. */
async function runScript(folder: string, bucket: string): Promise<Run> {
  const [log, bin] = [join(folder, 'log'), join(folder, 'bin')]
  await mkdir(bin)
  await Bun.write(join(bin, 'mc'), `#!/bin/sh\necho "$*" >>'${log}'\n`)
  await chmod(join(bin, 'mc'), 0o755)
  const root = { STORE: 'http://store.test', MINIO_ROOT_USER: 'root', MINIO_ROOT_PASSWORD: 'root-password' }
  const key = { AWS_ACCESS_KEY_ID: 'media-replica', AWS_SECRET_ACCESS_KEY: 'replica-password' }
  await Bun.$`/bin/sh deploy/store-key.sh`
    .cwd(repository)
    .env({ ...root, ...key, PATH: bin, TMPDIR: folder, S3_BUCKET: bucket, S3_REGION: 'us-east-1' })
    .quiet()
  const policy = await Bun.file(join(folder, 'bucket-only.json')).text()
  return { policy, commands: (await Bun.file(log).text()).trim().split('\n') }
}

/** A key that has these rights for an hour; MinIO needs no other program for it. */
async function assumeRole(policy: string): Promise<Key> {
  const { endpoint, region, accessKeyId, secretAccessKey } = (await services()).s3
  const asked = { Action: 'AssumeRole', Version: '2011-06-15', DurationSeconds: '3600', Policy: policy }
  const body = new URLSearchParams(asked).toString()
  const time = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '')
  const day = time.slice(0, 8)
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const names = 'content-type;host;x-amz-date'
  const type = 'application/x-www-form-urlencoded'
  const headers = `content-type:${type}\nhost:${new URL(endpoint).host}\nx-amz-date:${time}\n`
  const canonical = ['POST', '/', '', headers, names, sha256(body)].join('\n')
  const scope = `${day}/${region}/sts/aws4_request`
  const key = [day, region, 'sts', 'aws4_request'].reduce(hmac, Buffer.from(`AWS4${secretAccessKey}`))
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  const sent = { 'content-type': type, 'x-amz-date': time, authorization }
  const answer = await fetch(`${endpoint}/`, { method: 'POST', headers: sent, body })
  const text = await answer.text()
  expect([answer.status, text]).toEqual([200, expect.stringContaining('SessionToken')])
  const between = (name: string) => new RegExp(`<${name}>([^<]+)<`).exec(text)?.[1] ?? ''
  return {
    accessKeyId: between('AccessKeyId'),
    secretAccessKey: between('SecretAccessKey'),
    sessionToken: between('SessionToken'),
  }
}

type Key = { accessKeyId: string; secretAccessKey: string; sessionToken: string }

function asProfile({ accessKeyId, secretAccessKey, sessionToken }: Key): string {
  const lines = [`aws_access_key_id = ${accessKeyId}`, `aws_secret_access_key = ${secretAccessKey}`]
  return ['[default]', ...lines, `aws_session_token = ${sessionToken}\n`].join('\n')
}
