/** What the functions of this room are given, and what they hand to each other. */
import type { Caller } from '../../auth/caller.ts'
import type { Log } from '../../log.ts'
import type { Media } from '../../media/media.ts'
import type { LeaseLocker } from '../../media/uploads/tus-locker.ts'
import type { Storage } from '../../storage/storage.ts'
import type { TusStore, TusStores } from '../../storage/tus.ts'

export type TusRequest = {
  request: Request
  /** Id of the upload; absent for a request that creates one. */
  id: string | undefined
  caller: Caller
  origin: string
}

export type TusDeps = {
  media: Media
  storage: Storage
  stores: TusStores
  locker: LeaseLocker
  log: Log
  maxObjectBytes: number
  pendingSeconds: number
}

/** The path of tus uploads; an upload's id is the id of its media object. */
export const TUS_PATH = '/media/tus'

/** An upload of one caller. */
export type Target = { id: string; key: string }

/** Opens the store, without the extensions that quotas rule out. */
export function openStore(
  { media, stores }: TusDeps,
  request: Omit<Parameters<TusStores['open']>[0], 'records'>,
): TusStore {
  const { deferrable, records } = media.uploads.tus
  const store = stores.open({ records, ...request })
  if (!deferrable) store.extensions = store.extensions.filter((extension) => extension !== DEFERRED_LENGTH)
  return store
}

const DEFERRED_LENGTH = 'creation-defer-length'

/** Links a complete upload to its object. */
export function locationOf(id: string, origin: string): Record<string, string> {
  return { 'media-location': `${origin}/media/${id}` }
}
