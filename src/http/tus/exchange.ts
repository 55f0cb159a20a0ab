/** One request to `@tus/server`, and its response. */
import { Server } from '@tus/server'
import { arriving } from './body.ts'
import { finish } from './completion.ts'
import { metadataOf } from './declaration.ts'
import { openStore, type Target, TUS_PATH, type TusDeps, type TusRequest } from './deps.ts'
import { refusalOf } from './errors.ts'

// How long a writer that was asked to stop may keep receiving, ms.
const DRAIN_MS = 300

/** `targetOf` gives the upload that a request creates; `known` is the one that a later request names. */
type Targets = {
  targetOf: (metadata?: Record<string, string | null>) => Promise<Target>
  known?: Target
}

/**
 * Runs `@tus/server` on a request.
 * @throws its refusals as Problems
 */
export async function exchange(deps: TusDeps, asked: TusRequest, { targetOf, known }: Targets): Promise<Response> {
  const { media, locker, stores } = deps
  const { request, caller, origin } = asked
  const lost = new AbortController()
  let target = known
  let failure: unknown
  let finished = false
  const store = openStore(deps, { signal: lost.signal, caller: caller.userId })
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
    locker: locker({ ask: request.method !== 'PATCH', onLost: () => lost.abort() }),
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
      return target === undefined ? {} : { headers: await finish(deps, target, asked) }
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

/** The store's own error when it has one, else the failure. */
function reasonOf(writing: Promise<unknown>, failure: unknown): Promise<unknown> {
  return writing.then(
    () => failure,
    (reason: unknown) => reason,
  )
}

function withBody({ url, method, headers: sent }: Request, body: ReadableStream<Uint8Array> | undefined): Request {
  const headers = new Headers(sent)
  const metadata = metadataOf(sent)
  if (metadata) headers.set('upload-metadata', metadata)
  else headers.delete('upload-metadata')
  if (body === undefined) return new Request(url, { method, headers })
  const init: RequestInit & { duplex: 'half' } = { method, headers, body, duplex: 'half' }
  return new Request(url, init)
}

function withoutCors({ body, status, headers }: Response): Response {
  return new Response(body, { status, headers: [...headers].filter(([name]) => !name.startsWith('access-control-')) })
}
