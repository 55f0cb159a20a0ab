/** Makes the public copy of an object. */

import type { Log } from '../../log.ts'
import { notFound, Problem } from '../../problem.ts'
import type { Storage } from '../../storage/storage.ts'
import { createRekeying, type Rekeying } from '../bytes/rekey.ts'
import type { Decode } from '../decoding/decode.ts'
import { copyTypeOf } from '../object/copy-type.ts'
import { dispositionOf, extensionOf, type StoredObject } from '../object/object.ts'
import { isRefusal, refusalOf } from '../object/outcomes.ts'
import type { Relay } from '../outbox/relay.ts'
import type { Repository } from '../table/repository.ts'
import { CLEAN, type PublicAccess } from './access.ts'

/**
 * Makes the public copy now, and returns its key; `party`: see `DecodeRequest`.
 * @throws Problem `not_found` when the object is no longer public, `image_too_large` or `image_unreadable` for a
 * picture that cannot be cleaned and so stays with its owner, or `overloaded`
 */
export type MakePublicCopy = (object: StoredObject, party: string) => Promise<string>

type Deps = {
  repository: Pick<Repository, 'objects' | 'outcomes' | 'publicCopies' | 'transients'>
  storage: Storage
  relay: Relay
  decode: Decode
  publicAccess: PublicAccess
  log: Log
}

// How long a picture waits for a decoder.
const PATIENCE_MS = 20_000

type Making = Deps & { rekeying: Rekeying }

export function createPublicCopyMaker(given: Deps): MakePublicCopy {
  const deps = { ...given, rekeying: createRekeying(given) }
  /** Concurrent calls for one object share one copy. */
  const underWay = new Map<string, Promise<string>>()
  return async function makePublicCopy(object, party) {
    const { id } = object
    const made = underWay.get(id) ?? make(deps, object, party).finally(() => underWay.delete(id))
    underWay.set(id, made)
    return made
  }
}

async function make(deps: Making, object: StoredObject, party: string): Promise<string> {
  const { repository, publicAccess } = deps
  const { id } = object
  const to = await store(deps, object, party).catch(async (error) => {
    if (error instanceof Problem && isRefusal(error)) await repository.publicCopies.refuse(id)
    throw error
  })
  const made = to && (await keep(deps, object, to))
  if (made) return made
  const others = await repository.objects.findVisible(id, null)
  const copy = others && publicAccess.copyOf(others)
  if (copy) return copy
  throw notFound()
}

/** Stores the copy under a new key, which the row has reserved. Null when the object is no longer public. */
async function store(deps: Making, object: StoredObject, party: string): Promise<string | null> {
  const { storage, publicAccess, rekeying } = deps
  const { key, mimeType } = object
  if (!publicAccess.mustBeClean(object)) {
    const stored = await storage.head(key)
    if (stored === null) throw new Problem('storage_unavailable', 'The bytes could not be found. Try again.')
    return rekeying.copyAsPublic(object, publicAccess.home, stored)
  }
  const bytes = await cleaned(deps, object, party)
  const copyType = copyTypeOf(mimeType)
  const name = `${CLEAN}${extensionOf(copyType)}`
  const to = await rekeying.reservePublicCopy(object, publicAccess.home, name)
  if (to !== null) await storage.put(to, bytes, { contentType: copyType, disposition: dispositionOf(copyType) })
  return to
}

async function cleaned({ repository, decode }: Making, object: StoredObject, party: string): Promise<Uint8Array> {
  const remembered = await repository.outcomes.find(object.id, decode.version)
  const refusal = remembered && refusalOf(remembered, 'clean')
  if (refusal) throw refusal
  const task = { kind: 'clean', mimeType: object.mimeType } as const
  const { bytes } = await decode(object, task, { party, until: Date.now() + PATIENCE_MS })
  if (bytes === undefined) throw new Error('the decoders made no copy')
  return bytes
}

/** Gives the stored copy to the object. Null, after removing the copy, when the object may not have it any more. */
async function keep(deps: Making, object: StoredObject, to: string): Promise<string | null> {
  const { repository, relay, publicAccess, rekeying, log } = deps
  const url = publicAccess.atCdn({ ...object, publicKey: to })
  const event = url === null ? undefined : { channel: 'photo:updated' as const, fields: { url } }
  const row = await repository.publicCopies.keep(object, to, event)
  if (row === null) {
    await rekeying.remove(to)
    return null
  }
  await relay.send([row]).catch((error) => log.warn({ err: error }, 'public copy: event not sent, it stays owed'))
  if (object.publicKey !== null) await rekeying.tryToRemoveTransients(object.id, row)
  return to
}
