import { describe, expect, test } from 'bun:test'
import { HeadObjectCommand, PutObjectCommand, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { answered, expectProblem, type MediaObject, newUser, type Presigned } from '../support/http/client.ts'
import { readCorpus } from '../support/pictures/corpus.ts'
import { usualStage } from '../support/process/acceptance.ts'
import { s3Client } from '../support/services/buckets.ts'

const { complete, env, get, inside, presigned, put } = await usualStage()
const Bucket = env.S3_BUCKET ?? ''
const rocket = await readCorpus('accept/rocket.jpg')

describe('bytes that their uploader calls packed', () => {
  test('are refused under the link where the store minds, and else on completion', async () => {
    const user = newUser()
    const link = await presigned(user, { size: rocket.length })
    const answer = await put(link, rocket, { 'content-encoding': 'gzip' })
    if (!answer.ok) expect((await put(link, rocket)).status).toBe(200)
    const { signedUrl } = await completed(user, link).then(({ id }) => get(user, id).then((found) => found.json()))
    expect((await fetch(signedUrl)).headers.get('content-encoding') || null).toBeNull()
  })

  test.skipIf(inside === undefined)('are refused on completion where no link can be signed against it', async () => {
    const user = newUser()
    const link = await presigned(user, { size: rocket.length })
    await store(link, { ContentEncoding: 'gzip' })
    const problem = await expectProblem(await complete(user, link.id), 422, 'type_mismatch')
    expect(problem.detail).toContain('gzip')
    expect((await inside?.rowOf(link.id))?.status).toBe('purging')
    expect(await inside?.keys(`media/${link.id}/`)).toEqual([])
  })
})

test.skipIf(inside === undefined)(
  'bytes of a storage class of the uploader go to a new key, and are as others',
  async () => {
    const user = newUser()
    const link = await presigned(user, { size: rocket.length })
    await store(link, { StorageClass: 'REDUCED_REDUNDANCY' })
    const { key } = await completed(user, link)
    expect(key).not.toBe(link.key)
    expect(await inside?.keys(`media/${link.id}/`)).toEqual([key])
    const client = await s3Client()
    const { StorageClass, ContentLength } = await client.send(new HeadObjectCommand({ Bucket, Key: key }))
    client.destroy()
    expect([StorageClass || 'STANDARD', ContentLength]).toEqual(['STANDARD', rocket.length])
  },
)

/** As a client does over a link of a store that takes what the link was not signed for. */
async function store({ key }: Presigned, said: Partial<PutObjectCommandInput>): Promise<void> {
  const client = await s3Client()
  const ContentType = 'image/jpeg'
  await client.send(new PutObjectCommand({ Bucket, Key: key, Body: rocket, ContentType, ...said }))
  client.destroy()
}

async function completed(user: string, { id }: Presigned): Promise<MediaObject> {
  return answered<MediaObject>(200, await complete(user, id))
}
