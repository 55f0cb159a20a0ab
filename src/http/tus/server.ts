/**
 * tus 1.0 with `@tus/server`: bytes of one upload come through the service in any number of requests, each to any
 * replica; the complete upload becomes an object like every other.
 * @see https://tus.io/protocols/resumable-upload
 */

import { type Locker, Server, TUS_RESUMABLE } from '@tus/server'
import type { Caller } from '../../auth/caller.ts'
import type { Log } from '../../log.ts'
import type { Media } from '../../media/media.ts'
import { notFound, Problem } from '../../problem.ts'
import type { Storage } from '../../storage/storage.ts'
import type { TusStore, TusStores } from '../../storage/tus.ts'
import { HttpProblem } from '../request/problem-response.ts'
import { arriving } from './body.ts'
import { declarationOf } from './declaration.ts'
import { byHeaders, refusalOf } from './errors.ts'
import type { LeaseLocker } from './locker.ts'

export type TusRequest = {
  request: Request
  /** Id of the upload; absent for a request that creates one. */
  id: string | undefined
  caller: Caller
  origin: string
}

export type Tus = ReturnType<typeof createTus>

export type Deps = {
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

// How long a writer that was asked to stop may keep receiving, ms.
const DRAIN_MS = 300

/** An upload of one caller. */
type Target = { id: string; key: string }

export function createTus(deps: Deps) {
  const { media, storage, stores, locker, log } = deps

  /** Opens the store, without the extensions that quotas rule out. */
  function open(request: Parameters<TusStores['open']>[0]): TusStore {
    const store = stores.open(request)
    if (!media.uploads.tus.deferrable)
      store.extensions = store.extensions.filter((extension) => extension !== DEFERRED_LENGTH)
    return store
  }

  /** Runs `@tus/server` on a request. Throws its refusals as Problems. */
  async function serve(
    { request, caller, origin }: TusRequest,
    targetOf: (metadata?: Record<string, string | null>) => Promise<Target>,
    known?: Target,
  ): Promise<Response> {
    const lost = new AbortController()
    const lose = () => lost.abort()
    let target = known
    let failure: unknown
    let finished = false
    const store = open({ records: media.uploads.tus.records, signal: lost.signal, caller: caller.userId })
    // A completed object does not expire, and tus would ask the store for an upload that is gone.
    store.getExpiration = () => (finished ? 0 : deps.pendingSeconds * 1000)
    // tus's pipeline may learn of a broken stream before it learns the store's reason.
    let writing: Promise<unknown> = Promise.resolve()
    const write = store.write.bind(store)
    store.write = (...bytes) => {
      const written = write(...bytes)
      writing = written
      return written
    }
    store.remove = async () => {
      if (target !== undefined) await media.uploads.abort(target.id, caller)
    }
    const server = new Server({
      path: TUS_PATH,
      datastore: store,
      locker: locker({ ask: request.method !== 'PATCH', onLost: lose }),
      lockDrainTimeout: DRAIN_MS,
      maxSize: deps.maxObjectBytes,
      // CORS is handled by the app's middleware.
      allowedOrigins: [],
      namingFunction: async (_, metadata) => {
        target = await targetOf(metadata)
        return target.key
      },
      getFileIdFromRequest: () => target?.key,
      generateUrl: () => `${origin}${TUS_PATH}/${target?.id}`,
      onUploadFinish: async () => {
        finished = true
        return target === undefined ? {} : { headers: await finish(target, caller, origin) }
      },
      onResponseError: (_, error) => {
        failure = error
        return undefined
      },
    })
    const body = request.body === null ? undefined : arriving(request.body, lost.signal, stores.contended)
    try {
      const answer = await server.handleWeb(withBody(request, body?.stream))
      if (failure !== undefined) throw refusalOf(await reasonOf(writing, failure))
      if (answer.status >= 400) throw refusalOf({ status_code: answer.status, body: await answer.text() })
      return withoutCors(answer)
    } finally {
      body?.release()
    }
  }

  /** Inspects and completes a fully received upload, like every other kind of upload. */
  async function finish({ id, key }: Target, caller: Caller, origin: string): Promise<Record<string, string>> {
    await media.uploads.complete(id, caller)
    await media.uploads.tus.removePieces(key)
    return locationOf(id, origin)
  }

  /** Completes an upload whose last request died before doing so. */
  async function settle(target: Target, { caller, origin }: TusRequest): Promise<Record<string, string>> {
    if ((await storage.head(target.key)) === null) await assemble(target, caller)
    return finish(target, caller, origin)
  }

  async function assemble({ id, key }: Target, caller: Caller): Promise<void> {
    const lost = new AbortController()
    const lock = locker({ ask: true, onLost: () => lost.abort() }).newLock(key)
    await lock.lock(lost.signal, () => {})
    try {
      if ((await storage.head(key)) !== null) return
      await open({ records: media.uploads.tus.records, signal: lost.signal, caller: caller.userId }).assemble(key)
    } catch (error) {
      // The store has lost the upload, so the client has to start again.
      if (error instanceof Problem && error.code === 'not_found') await media.uploads.abort(id, caller)
      throw error
    } finally {
      await lock.unlock()
    }
  }

  async function create(asked: TusRequest): Promise<Response> {
    let begun: Target | undefined
    try {
      return await serve(asked, async (metadata = {}) => {
        const declared = declarationOf(asked.request.headers, metadata)
        begun = await byHeaders(() => media.uploads.tus.begin(asked.caller, declared))
        return begun
      })
    } catch (error) {
      // The client never learns of this upload, so end it now instead of leaving it to upkeep.
      if (begun !== undefined) await giveUp(begun, asked.caller)
      throw error
    }
  }

  async function giveUp({ id }: Target, caller: Caller): Promise<void> {
    try {
      await media.uploads.abort(id, caller)
    } catch (error) {
      if (error instanceof Problem && error.code === 'not_found') return
      log.warn({ err: error, id }, 'tus: could not abort an upload whose creation failed; upkeep will expire it')
    }
  }

  async function proceed(asked: TusRequest, upload: Target & { metadata: string }): Promise<Response> {
    const answer = await serve(asked, async () => upload, upload)
    if (asked.request.method !== 'HEAD') return answer
    const { headers } = answer
    if (upload.metadata !== '') headers.set('upload-metadata', upload.metadata)
    if (headers.get('upload-offset') !== headers.get('upload-length')) return answer
    for (const [name, value] of Object.entries(await settle(upload, asked))) headers.set(name, value)
    return answer
  }

  return {
    /**
     * Handles POST, HEAD, PATCH and DELETE. The response to the last PATCH, or to any request for a complete upload,
     * links to the object in `Media-Location`. Throws Problem `not_found`, `precondition_failed`, `request_invalid`,
     * `content_type_unsupported`, `state_conflict`, `upload_locked`, or what completing throws.
     */
    async handle(asked: TusRequest): Promise<Response> {
      const { request, id, caller, origin } = asked
      requireProtocol(request)
      if (id === undefined) return create(asked)
      const find = () => media.uploads.tus.find(id, caller)
      const upload = await find()
      if (upload === null) throw notFound()
      if (upload.status === 'active') return ofFinished(request, upload, origin)
      if (request.method === 'PATCH' && upload.sizeBytes === null && !media.uploads.tus.deferrable)
        throw new Problem('request_invalid', 'Quotas are in force: begin a new upload with Upload-Length.')
      try {
        return await proceed(asked, upload)
      } catch (error) {
        // A concurrent request may have sent the last byte.
        const now = error instanceof Problem && MAY_BE_FINISHED.has(error.code) ? await find() : null
        if (now?.status === 'active') return ofFinished(request, now, origin)
        throw error
      }
    },

    /** The server's capabilities, as headers of the OPTIONS response. */
    async capabilities(): Promise<[name: string, value: string][]> {
      const datastore = open({ records: media.uploads.tus.records, signal: new AbortController().signal, caller: '' })
      const server = new Server({ path: TUS_PATH, datastore, locker: NO_LOCKS, maxSize: deps.maxObjectBytes })
      const { headers } = await server.handleWeb(new Request(`http://server${TUS_PATH}`, { method: 'OPTIONS' }))
      return [...headers].filter(([name]) => name.startsWith('tus-'))
    },
  }
}

const DEFERRED_LENGTH = 'creation-defer-length'

const MAY_BE_FINISHED = new Set(['not_found', 'upload_incomplete', 'state_conflict'])

const NO_LOCKS: Locker = {
  newLock() {
    throw new Error('OPTIONS takes no lock')
  },
}

/** tus 1.0, "Tus-Version": another version gets 412 with the supported version. */
function requireProtocol(request: Request): void {
  if (request.headers.get('tus-resumable') !== TUS_RESUMABLE)
    throw new HttpProblem('precondition_failed', `Send Tus-Resumable: ${TUS_RESUMABLE}.`, {
      headers: { 'tus-version': TUS_RESUMABLE },
    })
  if (request.method === 'PATCH' && request.headers.get('content-type') !== 'application/offset+octet-stream')
    throw new Problem('content_type_unsupported', 'Send the request as application/offset+octet-stream.')
}

/** Answers for a completed upload: only its offset can be asked for. */
function ofFinished(
  request: Request,
  { id, sizeBytes, metadata }: { id: string; sizeBytes: number | null; metadata: string },
  origin: string,
): Response {
  const length = String(sizeBytes)
  const headers = { 'upload-offset': length, ...locationOf(id, origin) }
  if (request.method === 'HEAD') {
    const described = metadata === '' ? {} : { 'upload-metadata': metadata }
    const known = { 'upload-length': length, ...described }
    return new Response(null, { headers: { ...headers, ...known } })
  }
  if (request.method === 'PATCH' && request.headers.get('upload-offset') === length)
    return new Response(null, { status: 204, headers })
  throw new Problem('state_conflict', 'The upload is complete; manage its object under /media.')
}

function locationOf(id: string, origin: string): Record<string, string> {
  return { 'media-location': `${origin}/media/${id}` }
}

/** The store's own error when it has one, else the failure. */
function reasonOf(writing: Promise<unknown>, failure: unknown): Promise<unknown> {
  return writing.then(
    () => failure,
    (reason: unknown) => reason,
  )
}

function withBody({ url, method, headers }: Request, body: ReadableStream<Uint8Array> | undefined): Request {
  if (body === undefined) return new Request(url, { method, headers })
  const init: RequestInit & { duplex: 'half' } = { method, headers, body, duplex: 'half' }
  return new Request(url, init)
}

function withoutCors({ body, status, headers }: Response): Response {
  return new Response(body, { status, headers: [...headers].filter(([name]) => !name.startsWith('access-control-')) })
}
