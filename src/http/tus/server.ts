/**
 * tus 1.0 with `@tus/server`: bytes of one upload come through the service in any number of requests, each to any
 * replica; the complete upload becomes an object like every other.
 * @see https://tus.io/protocols/resumable-upload
 */
import { type Locker, Server, TUS_RESUMABLE } from '@tus/server'
import type { Caller } from '../../auth/caller.ts'
import { notFound, Problem } from '../../problem.ts'
import { HttpProblem } from '../request/problem-response.ts'
import { settle } from './completion.ts'
import { declarationOf } from './declaration.ts'
import { locationOf, openStore, type Target, TUS_PATH, type TusDeps, type TusRequest } from './deps.ts'
import { byHeaders } from './errors.ts'
import { exchange } from './exchange.ts'

export type Tus = {
  /**
   * Handles POST, HEAD, PATCH and DELETE. The response to the last PATCH, or to any request for a complete upload,
   * links to the object in `Media-Location`.
   * @throws Problem `not_found`, `precondition_failed`, `request_invalid`, `content_type_unsupported`,
   * `state_conflict`, `upload_locked`, or what completing throws
   */
  handle(asked: TusRequest): Promise<Response>
  /** The server's capabilities, as headers of the OPTIONS response; none where the store takes no tus uploads. */
  capabilities(): Promise<[name: string, value: string][]>
}

export function createTus(deps: TusDeps): Tus {
  return { handle: (asked) => handle(deps, asked), capabilities: () => capabilities(deps) }
}

async function handle(deps: TusDeps, asked: TusRequest): Promise<Response> {
  const { request, id, caller, origin } = asked
  const { find, deferrable } = deps.media.uploads.tus
  requireProtocol(request)
  if (id === undefined) return create(deps, asked)
  const upload = await find(id, caller)
  if (upload === null) throw notFound()
  if (upload.status === 'active') return ofFinished(request, upload, origin)
  if (request.method === 'PATCH' && upload.sizeBytes === null && !deferrable)
    throw new Problem('request_invalid', 'Quotas are in force: begin a new upload with Upload-Length.')
  try {
    return await proceed(deps, asked, upload)
  } catch (error) {
    // A concurrent request may have sent the last byte.
    const now = error instanceof Problem && MAY_BE_FINISHED.has(error.code) ? await find(id, caller) : null
    if (now?.status === 'active') return ofFinished(request, now, origin)
    throw error
  }
}

async function create(deps: TusDeps, asked: TusRequest): Promise<Response> {
  let begun: Target | undefined
  const targetOf = async (metadata: Record<string, string | null> = {}) => {
    const declared = declarationOf(asked.request.headers, metadata)
    begun = await byHeaders(() => deps.media.uploads.tus.begin(asked.caller, declared))
    return begun
  }
  try {
    return await exchange(deps, asked, { targetOf })
  } catch (error) {
    // The client never learns of this upload, so end it now instead of leaving it to upkeep.
    if (begun !== undefined) await giveUp(deps, begun, asked.caller)
    throw error
  }
}

async function giveUp({ media, log }: TusDeps, { id }: Target, caller: Caller): Promise<void> {
  try {
    await media.uploads.abort(id, caller)
  } catch (error) {
    if (error instanceof Problem && error.code === 'not_found') return
    log.warn({ err: error, id }, 'tus: could not abort an upload whose creation failed; upkeep will expire it')
  }
}

async function proceed(deps: TusDeps, asked: TusRequest, upload: Target & { metadata: string }): Promise<Response> {
  const answer = await exchange(deps, asked, { targetOf: async () => upload, known: upload })
  if (asked.request.method !== 'HEAD') return answer
  const { headers } = answer
  if (upload.metadata !== '') headers.set('upload-metadata', upload.metadata)
  if (headers.get('upload-offset') !== headers.get('upload-length')) return answer
  for (const [name, value] of Object.entries(await settle(deps, upload, asked))) headers.set(name, value)
  return answer
}

async function capabilities(deps: TusDeps): Promise<[name: string, value: string][]> {
  if (!deps.stores.available) return []
  const datastore = openStore(deps, { signal: new AbortController().signal, caller: '' })
  const server = new Server({ path: TUS_PATH, datastore, locker: NO_LOCKS, maxSize: deps.maxObjectBytes })
  const { headers } = await server.handleWeb(new Request(`http://server${TUS_PATH}`, { method: 'OPTIONS' }))
  return [...headers].filter(([name]) => name.startsWith('tus-'))
}

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
