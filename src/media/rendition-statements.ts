/** The statements of renditions. An entry of a row says where one is before its bytes go there. */
import type { Caller } from '../auth/auth.ts'
import { type Queryable, violates, within } from '../db/connect.ts'
import { type Fragments, QUOTA } from './fragments.ts'
import type { VisibleObject } from './object.ts'
import { WRITER_GRACE_SECONDS } from './pending.ts'
import { MOVE_GRACE_SECONDS } from './upkeep-statements.ts'

/** Made, or by somebody else until a time in Unix seconds. */
export type Entry = { key: string; sizeBytes: number } | { key: string; until: number }
export type Renditions = Record<string, Entry>
/** An object that somebody may see, with what was made of it. */
export type Rendered = VisibleObject & { renditions: Renditions }

/** More of one picture than any page asks for. */
export const MOST_RENDITIONS = 100

export function createRenditionStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { visibleTo, seconds, withinQuota } = fragments

  return {
    /** An active object that this viewer may see, with what was made of it. */
    async findRendered(id: string, viewer: Caller | null): Promise<Rendered | null> {
      const [row] = await within(sql<Rendered[]>`
        SELECT ${visibleTo(viewer).columns}, renditions FROM media_objects
        WHERE id = ${id} AND ${visibleTo(viewer).rows}`)
      return row ?? null
    },

    /**
     * Takes the making of one for a while, under a key that was never used; what becomes of the bytes is looked after
     * from then on, however it ends. False when it is there, or somebody else makes it; or when the object is not active
     * any more, or has all it may have.
     */
    async claimRendition(
      id: string,
      name: string,
      { key, leaseSeconds }: { key: string; leaseSeconds: number },
    ): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects
        SET renditions = renditions || jsonb_build_object(${name}::text, jsonb_build_object(
            'key', ${key}::text, 'until', extract(epoch FROM now() + ${seconds(leaseSeconds)}))),
          links_until = greatest(links_until, now() + ${seconds(leaseSeconds + WRITER_GRACE_SECONDS)}),
          sweep_due_at = now() + ${seconds(MOVE_GRACE_SECONDS)}
        WHERE id = ${id} AND status = 'active'
          AND ((renditions -> ${name}::text) ? 'sizeBytes') IS NOT TRUE
          AND coalesce((renditions #>> ARRAY[${name}::text, 'until'])::numeric, 0) < extract(epoch FROM now())
          AND (SELECT count(*) FROM jsonb_object_keys(renditions)) < ${MOST_RENDITIONS}`)
      return count > 0
    },

    /**
     * The bytes are there. `lost`: the object is on its way out, or another maker took over; `over_quota`: its
     * owner may not have them. In both cases they are the caller's to remove.
     */
    async keepRendition(
      { id, userId }: { id: string; userId: string },
      name: string,
      { key, sizeBytes }: { key: string; sizeBytes: number },
    ): Promise<'kept' | 'lost' | 'over_quota'> {
      try {
        const { count } = await within(sql`
          UPDATE media_objects
          SET renditions = renditions || jsonb_build_object(${name}::text, jsonb_build_object(
              'key', ${key}::text, 'sizeBytes', ${sizeBytes}::bigint)),
            rendition_bytes = rendition_bytes + ${sizeBytes}
          WHERE id = ${id} AND CASE WHEN status IN ('active', 'deleted')
              AND renditions #>> ARRAY[${name}::text, 'key'] = ${key} AND (renditions -> ${name}::text) ? 'until'
            THEN ${withinQuota(sql`${userId}::uuid`, { bytes: sizeBytes, objects: 0 })} END`)
        return count > 0 ? 'kept' : 'lost'
      } catch (error) {
        if (violates(error, QUOTA)) return 'over_quota'
        throw error
      }
    },

    /** Gives up one that is being made, or one whose bytes are not there: the next who asks makes it. */
    async dropRendition(id: string, key: string): Promise<void> {
      await within(sql`
        UPDATE media_objects
        SET renditions = renditions - entry.name,
          rendition_bytes = rendition_bytes - coalesce((entry.value ->> 'sizeBytes')::bigint, 0)
        FROM (SELECT name, value FROM media_objects, jsonb_each(renditions) AS each (name, value)
          WHERE id = ${id} AND value ->> 'key' = ${key}) AS entry
        WHERE id = ${id} AND renditions #>> ARRAY[entry.name, 'key'] = ${key}`)
    },
  }
}
