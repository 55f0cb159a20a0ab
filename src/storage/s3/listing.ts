/** Lists the objects of one bucket, and removes prefixes. */

import { ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { deadline } from '../../deadline.ts'
import { STORE_DEADLINE_MS, type Storage } from '../storage.ts'
import { reach } from './client.ts'

type Deps = { client: S3Client; bucket: string; remove: Storage['remove'] }

export function createListing({ client, bucket, remove }: Deps): Pick<Storage, 'list' | 'removePrefix'> {
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

  return {
    list,

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
