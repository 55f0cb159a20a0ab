/** Lists and removes the objects of one bucket. */

import { DeleteObjectsCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { unavailable } from '../unavailable.ts'
import { reach } from './client.ts'

type Deps = { client: S3Client; bucket: string }

export function createListing({ client, bucket }: Deps): Pick<Storage, 'list' | 'remove' | 'removePrefix'> {
  const list: Storage['list'] = async ({ prefix, startAfter, limit, signal }) => {
    const command = new ListObjectsV2Command({
      Bucket: bucket,
      Prefix: prefix,
      StartAfter: startAfter,
      MaxKeys: limit,
    })
    const { Contents = [] } = await reach(() =>
      client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
    )
    return Contents.flatMap(({ Key, Size, LastModified }) =>
      Key === undefined ? [] : [{ key: Key, size: Size ?? 0, lastModified: LastModified ?? new Date(0) }],
    )
  }

  const remove: Storage['remove'] = async (keys, { signal } = {}) => {
    const command = new DeleteObjectsCommand({
      Bucket: bucket,
      Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
    })
    const { Errors = [] } = await reach(() =>
      client.send(command, { abortSignal: deadline(STORE_DEADLINE_MS, signal) }),
    )
    if (Errors.length > 0) throw unavailable(new Error(`${Errors[0]?.Key}: ${Errors[0]?.Code}`))
  }

  return {
    list,
    remove,

    async removePrefix(prefix, { signal } = {}) {
      for (;;) {
        const objects = await list({ prefix, limit: 1000, signal })
        if (objects.length === 0) return
        await remove(
          objects.map(({ key }) => key),
          { signal },
        )
      }
    },
  }
}
