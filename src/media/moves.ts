/**
 * Bytes that go under another key of the same object: into the CDN's home, or away from a key that an upload link was
 * signed for. The row learns of it before and after, so that whatever is left over is swept.
 */
import { randomBytes } from 'node:crypto'
import type { Log } from '../log.ts'
import { Problem } from '../problem.ts'
import type { Storage } from '../storage/storage.ts'
import { dispositionOf, type Home, prefixOf } from './object.ts'
import { REMOVAL_MS } from './removal.ts'
import type { Repository } from './repository.ts'

export type Moves = ReturnType<typeof createMoves>

export function createMoves({ repository, storage, log }: { repository: Repository; storage: Storage; log: Log }) {
  /**
   * A key that was never used before, for bytes of an object that are about to be stored.
   * Throws Problem `state_conflict` when the object is on its way out.
   */
  async function announce(id: string, home: Home, name: string): Promise<string> {
    if (!(await repository.announceMove(id))) throw new Problem('state_conflict', 'The object is being removed.')
    return `${prefixOf(id, home)}${randomBytes(6).toString('hex')}/${name}`
  }

  return {
    announce,

    /**
     * Copies an object's bytes, if they still have this ETag, to a key that was never used before, and returns it.
     * The row still has the old key then: the caller's next statement gives it the new one.
     * Throws Problem `state_conflict` when the object is on its way out.
     */
    async copy(object: { id: string; key: string; mimeType: string }, home: Home, etag: string): Promise<string> {
      const { id, key, mimeType } = object
      const to = await announce(id, home, key.slice(key.lastIndexOf('/') + 1))
      await storage.copy(key, to, { etag, as: { contentType: mimeType, disposition: dispositionOf(mimeType) } })
      return to
    },

    /** Removes bytes that are not the object's, now or with the sweep. */
    async remove(key: string): Promise<void> {
      try {
        await storage.remove([key], { signal: AbortSignal.timeout(REMOVAL_MS) })
      } catch (error) {
        log.warn({ err: error, key }, 'move: old bytes left for upkeep to sweep')
      }
    },
  }
}
