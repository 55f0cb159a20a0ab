/** Makes a media object of an upload whose bytes have all arrived. */
import { Problem } from '../../problem.ts'
import { locationOf, type Target, type TusDeps, type TusRequest } from './deps.ts'

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
  const { media, storage } = deps
  const { id, key } = target
  if ((await storage.head(key)) === null)
    await media.uploads.tus.assemble(key).catch(async (error) => {
      // The store has lost the upload, so the client has to start again.
      if (error instanceof Problem && error.code === 'not_found') await media.uploads.abort(id, asked.caller)
      throw error
    })
  return finish(deps, target, asked)
}
