/** Everything the service does, each from a state of its own, with what must be true of it afterwards. */

import { Readable } from 'node:stream'
import { Upload } from '@tus/server'
import { v7 as uuidv7 } from 'uuid'
import type { Caller } from '../../src/auth/caller.ts'
import type { Media } from '../../src/media/media.ts'
import { prefixOf, type Visibility } from '../../src/media/object/object.ts'
import type { MultipartUpload } from '../../src/media/uploads/multipart-uploads.ts'
import type { UploadLink } from '../../src/media/uploads/presigned.ts'
import { gathered } from './gathered-operations.ts'
import { pdf } from './pictures.ts'
import { type Replica, soundly, startReplica } from './replica.ts'
import {
  declared,
  either,
  expectSeen,
  fileOf,
  gif,
  type Operation,
  orGone,
  png,
  refusedWith,
  seen,
  type Trial,
} from './trials.ts'
import { PENDING_SECONDS, RETENTION_SECONDS, type World } from './world.ts'

export const operations: Operation[] = [
  ...gathered,
  {
    name: 'upload',
    async begin(world, person) {
      const run = ({ media }: Replica) => media.uploads.direct(person, fileOf(undefined))
      return {
        run,
        again: run,
        async wrong(first, retried) {
          const count = (await seen(world, person)).active.length
          const least = Number(first.kind === 'answered') + Number(retried)
          return count < least || count > 1 + Number(retried) ? [`${count} objects after an upload`] : []
        },
      }
    },
  },
  {
    name: 'upload with Idempotency-Key, and again',
    async begin(world, person) {
      const run = ({ media }: Replica) => media.uploads.direct(person, fileOf('a key'))
      return {
        run: async (replica) => [await run(replica), await run(replica)],
        again: run,
        async wrong(first, retried) {
          const { active } = await seen(world, person)
          const ids = new Set(
            first.kind === 'answered' && Array.isArray(first.value) ? first.value.map(({ id }) => id) : [],
          )
          const done = first.kind === 'answered' || retried
          if (active.length > 1 || (done && active.length === 0)) return [`${active.length} objects for one key`]
          return ids.size > 1 ? ['two answers for one key'] : []
        },
      }
    },
  },
  {
    name: 'presign, PUT and complete',
    begin: async (world, person) => throughLink(world, person, declared(undefined)),
  },
  {
    name: 'presign with Idempotency-Key, PUT and complete into the home of a CDN',
    begin: async (world, person) => throughLink(world, person, declared('a key', 'public')),
  },
  {
    name: 'complete of what is refused',
    async begin(world, person) {
      const link = await soundly(world, ({ media }) => media.uploads.presign(person, declared(undefined)))
      await world.put(link, pdf)
      const run = ({ media }: Replica) =>
        refusedWith(media.uploads.complete(link.id, person), 'media_type_unsupported', 'not_found')
      return { run, again: run, wrong: async () => expectSeen(world, person, { active: 0, deleted: 0 }) }
    },
  },
  {
    name: 'complete of a picture of another format than was declared',
    async begin(world, person) {
      const link = await soundly(world, ({ media }) => media.uploads.presign(person, declared(undefined)))
      await world.put(link, gif)
      const run = ({ media }: Replica) => media.uploads.complete(link.id, person)
      return {
        run,
        again: run,
        async wrong(first, retried) {
          const rows = await world.sql<{ type: string; key: string }[]>`
            SELECT mime_type AS type, storage_key AS key FROM media_objects
            WHERE id = ${link.id} AND status = 'active'`
          const kept = rows.filter(({ type, key }) => type !== 'image/gif' || !key.endsWith('/original.gif'))
          return [
            ...(await either(world, person, first, retried, { active: 1, deleted: 0 }, { active: 0, deleted: 0 })),
            ...kept.map(({ type, key }) => `kept as ${type} under ${key}`),
          ]
        },
      }
    },
  },
  {
    name: 'delete',
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined)))
      return {
        run: ({ media }) => media.objects.remove(id, person),
        again: ({ media }) => orGone(media.objects.remove(id, person)),
        wrong: async (first, retried) =>
          either(world, person, first, retried, { active: 0, deleted: 1 }, { active: 1, deleted: 0 }),
      }
    },
  },
  {
    name: 'restore',
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined)))
      await soundly(world, ({ media }) => media.objects.remove(id, person))
      return {
        run: ({ media }) => media.objects.restore(id, person),
        again: ({ media }) => orGone(media.objects.restore(id, person)),
        wrong: async (first, retried) =>
          either(world, person, first, retried, { active: 1, deleted: 0 }, { active: 0, deleted: 1 }),
      }
    },
  },
  rendition('a rendition, made at first asking', 'private'),
  rendition('a rendition that a stranger has made', 'public'),
  {
    name: 'update',
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined)))
      const run = ({ media }: Replica) => media.objects.update(id, person, { originalName: 'after.gif' })
      return {
        run,
        again: run,
        async wrong(first, retried) {
          const name = (await seen(world, person)).active[0]?.originalName
          const must = first.kind === 'answered' || retried
          return name === 'after.gif' || (!must && name === 'before.gif') ? [] : [`called ${name} after an update`]
        },
      }
    },
  },
  {
    name: 'making what others get of a public object',
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined, 'public')))
      const run = async ({ media }: Replica) =>
        media.objects.locate(await media.objects.get(id, null), { download: false, party: 'address:1' })
      return {
        run,
        again: run,
        async wrong(first, retried) {
          const { publicKey } = (await seen(world, person)).active[0] ?? {}
          const must = first.kind === 'answered' || retried
          return must && !publicKey?.startsWith('public/') ? [`public at ${publicKey}`] : []
        },
      }
    },
  },
  {
    name: 'update that takes an object away from a CDN',
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined, 'public')))
      await soundly(world, async ({ media }) =>
        media.objects.locate(await media.objects.get(id, null), { download: false, party: 'address:1' }),
      )
      const run = ({ media }: Replica) => media.objects.update(id, person, { visibility: 'private' })
      return {
        run,
        again: run,
        async wrong(first, retried) {
          const { visibility, publicKey } = (await seen(world, person)).active[0] ?? {}
          const must = first.kind === 'answered' || retried
          const fits = visibility === (publicKey ? 'public' : 'private')
          return fits && (!must || visibility === 'private') ? [] : [`${visibility} with a copy at ${publicKey}`]
        },
      }
    },
  },
  {
    name: 'multipart upload',
    only: 'real',
    async begin(world, person) {
      let upload: MultipartUpload | undefined
      const declaration = { ...declared('a key'), size: png.length, partChecksums: undefined }
      const run = async ({ media }: Replica) => {
        upload ??= await media.uploads.beginMultipart(person, declaration)
        const { links } = await media.uploads.linkParts(upload.id, person, [{ partNumber: 1, md5: undefined }])
        for (const { url } of links) await fetch(url, { method: 'PUT', body: new Uint8Array(png) })
        return media.uploads.complete(upload.id, person)
      }
      const again = async (replica: Replica) => {
        // What was completed takes no more parts.
        const done = (await seen(world, person)).active.length > 0
        return done || run(replica)
      }
      return {
        run,
        again,
        async wrong(first, retried) {
          const { active } = await seen(world, person)
          const must = first.kind === 'answered' || retried
          return active.length > 1 || (must && active.length === 0) ? [`${active.length} objects after a complete`] : []
        },
      }
    },
  },
  {
    name: 'purge',
    global: true,
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined)))
      await soundly(world, ({ media }) => media.objects.remove(id, person))
      await world.clock.advance(RETENTION_SECONDS)
      const run = ({ upkeep }: Replica) => upkeep.run()
      return { run, wrong: async () => expectSeen(world, person, { active: 0, deleted: 0 }) }
    },
  },
  {
    name: 'relay',
    global: true,
    async begin(world, person) {
      for (const change of ['none', 'deleted', 'restored'] as const) await owing(world, person, change)
      await world.clock.advance(60)
      const run = ({ relay }: Replica) => relay.run()
      return { run, wrong: async () => expectSeen(world, person, { active: 2, deleted: 1 }) }
    },
  },
  {
    name: 'upkeep',
    global: true,
    async begin(world, person) {
      await litter(world, person)
      const run = ({ upkeep }: Replica) => upkeep.run()
      // What was forgotten with its bytes has become an object.
      return { run, wrong: async () => expectSeen(world, person, { active: 1, deleted: 0 }) }
    },
  },
  {
    name: 'complete of a tus upload that nobody has assembled',
    // Where a store of parts takes a small last part as such only from a writer that knows its end.
    only: 'embedded',
    async begin(world, person) {
      const id = await soundly(world, ({ media }) => sendUnassembled(world, media, person))
      const run = ({ media }: Replica) => media.uploads.complete(id, person)
      return { run, again: run, wrong: async () => expectSeen(world, person, { active: 1, deleted: 0 }) }
    },
  },
]

/** Asked for by its owner, or by nobody in particular when it is public. */
function rendition(name: string, visibility: Visibility): Operation {
  return {
    name,
    async begin(world, person) {
      const { id } = await soundly(world, ({ media }) => media.uploads.direct(person, fileOf(undefined, visibility)))
      const wish = { width: 100, height: undefined, fit: 'inside', format: 'auto', quality: 75 } as const
      const asked = { wish, accept: 'image/webp', party: 'address:1' }
      const run = ({ media }: Replica) => media.renditions.get(id, visibility === 'public' ? null : person, asked)
      return { run, again: run, wrong: async () => expectSeen(world, person, { active: 1, deleted: 0 }) }
    },
  }
}

/** A link, the client's own PUT, which no fault of the service touches, and complete. */
async function throughLink(world: World, person: Caller, declaration: ReturnType<typeof declared>): Promise<Trial> {
  let link: UploadLink | undefined
  const run = async ({ media }: Replica) => {
    link ??= await media.uploads.presign(person, declaration)
    await world.put(link, png)
    return media.uploads.complete(link.id, person)
  }
  return {
    run,
    again: run,
    async wrong(first, retried) {
      const done = first.kind === 'answered' || retried
      const { active } = await seen(world, person)
      return active.length > 1 || (done && active.length === 0) ? [`${active.length} objects after a complete`] : []
    },
  }
}

/** What upkeep has to do beside purging what was deleted. */
async function litter(world: World, person: Caller): Promise<void> {
  const link = () => soundly(world, ({ media }) => media.uploads.presign(person, declared(undefined)))
  const forgotten = await link()
  await world.put(forgotten, png)
  const orphan = `${prefixOf(uuidv7({ msecs: world.clock.now() }))}original.gif`
  await world.storage.put(orphan, gif, { contentType: 'image/gif' })
  await world.clock.advance(PENDING_SECONDS + 1)
  const refused = await link()
  await world.put(refused, pdf)
  const complete = ({ media }: Replica) => media.uploads.complete(refused.id, person)
  await soundly(world, (replica) => refusedWith(complete(replica), 'media_type_unsupported'))
  // Late, and taken, because the first bytes have been removed.
  await world.put(refused, png)
}

/** A tus upload whose writer died with the last byte: its store was not told that it was the last. */
async function sendUnassembled({ tusStores }: World, { uploads: { tus } }: Media, person: Caller) {
  const declaration = { filename: 'a.png', fileType: 'image/png', visibility: 'private', metadata: '' } as const
  const { id, key } = await tus.begin(person, { ...declaration, size: png.length })
  const load = async () => {
    const record = await tus.records.load(key)
    return record && { ...record, size: null }
  }
  const store = tusStores.open({ records: { ...tus.records, load }, signal: new AbortController().signal, caller: '' })
  await store.create(new Upload({ id: key, offset: 0 }))
  await store.getUpload(key)
  await store.write(Readable.from([Buffer.from(png)]), key, 0)
  return id
}

/** An object all of whose events are owed still, because the bus was down. */
async function owing(world: World, person: Caller, change: 'none' | 'deleted' | 'restored'): Promise<void> {
  const { media, circuit } = startReplica({
    ...world,
    events: { ...world.events, publish: () => Promise.reject(new Error('down')) },
  })
  const { id } = await media.uploads.direct(person, fileOf(undefined))
  if (change !== 'none') await media.objects.remove(id, person)
  if (change === 'restored') await media.objects.restore(id, person)
  await circuit.end()
}
