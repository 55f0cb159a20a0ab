/** Makes a media object of an upload whose bytes have all arrived. */
import type { Caller } from '../../auth/caller.ts'
import { Problem } from '../../problem.ts'
import { locationOf, openStore, type Target, type TusDeps, type TusRequest } from './deps.ts'

/** Inspects and completes a fully received upload, like every other kind of upload. */
export async function finish(
  { media }: TusDeps,
  { id, key }: Target,
  { caller, origin }: Pick<TusRequest, 'caller' | 'origin'>,
): Promise<Record<string, string>> {
  await media.uploads.complete(id, caller)
  await media.uploads.tus.removePieces(key)
  return locationOf(id, origin)
}

/** Completes an upload whose last request died before doing so. */
export async function settle(deps: TusDeps, target: Target, asked: TusRequest): Promise<Record<string, string>> {
  if ((await deps.storage.head(target.key)) === null) await assemble(deps, target, asked.caller)
  return finish(deps, target, asked)
}

async function assemble(deps: TusDeps, { id, key }: Target, caller: Caller): Promise<void> {
  const { media, storage, locker } = deps
  const lost = new AbortController()
  const lock = locker({ ask: true, onLost: () => lost.abort() }).newLock(key)
  await lock.lock(lost.signal, () => {})
  try {
    if ((await storage.head(key)) !== null) return
    await openStore(deps, { signal: lost.signal, caller: caller.userId }).assemble(key)
  } catch (error) {
    // The store has lost the upload, so the client has to start again.
    if (error instanceof Problem && error.code === 'not_found') await media.uploads.abort(id, caller)
    throw error
  } finally {
    await lock.unlock()
  }
}
