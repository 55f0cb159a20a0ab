/** Statements on renditions. A row lists the key of a rendition before its bytes are stored. */
import { type Queryable, within } from '../../db/connect.ts'
import { violates } from '../../db/errors.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { Placeholder, VisibleObject } from '../object/object.ts'
import { forOwner, forStrangers, type Remembered } from '../object/outcomes.ts'
import { LEAST_STRANGERS_BYTES, MOST_RENDITIONS, type Places, type Victim } from '../object/places.ts'
import { type Fragments, QUOTA } from './fragments.ts'
import { createOutcomeFragments } from './outcomes.ts'

/** An object that a viewer may see, with its renditions and its outcomes of decoding. */
export type Rendered = VisibleObject & Places & Remembered & { strangerBytes: number }

/** The claim on making a rendition, under a key of its own. `own`: for the owner, or over a signed link. */
export type Claim = { id: string; userId: string; name: string; key: string; own: boolean; version: string }

export function createRenditionStatements({ sql, fragments }: { sql: Queryable; fragments: Fragments }) {
  const { letBytesIn, seconds, withinQuota } = fragments
  const { known, noted } = createOutcomeFragments(sql)

  const unixTime = sql`extract(epoch FROM now())`
  /** Whether a claim holds: a maker that slept has lost it, perhaps to another one. */
  const inForce = ({ name, key }: Pick<Claim, 'name' | 'key'>) => sql`
    renditions #>> ARRAY[${name}::text, 'key'] = ${key}
    AND (renditions #>> ARRAY[${name}::text, 'until'])::numeric > ${unixTime}`

  return {
    /**
     * Claims the making of a rendition for a while, under a new key; from then on, upkeep sweeps its bytes unless they
     * are kept. An evicted rendition leaves the row now, and its bytes stay while links to them live. False when the
     * rendition is stored, or another maker has it; when making it failed and its retry is not due; or when the object
     * is no longer active, or has as many renditions as it may.
     */
    async claimRendition(
      { id, name, key, own, version }: Claim,
      { victim, leaseSeconds, linksSeconds }: { victim: Victim | null; leaseSeconds: number; linksSeconds: number },
    ): Promise<boolean> {
      const by = own ? sql`'{}'::jsonb` : sql`'{"by": "stranger"}'::jsonb`
      const gone = victim?.name ?? name
      const bytesSeconds = Math.max(leaseSeconds + WRITER_GRACE_SECONDS, victim === null ? 0 : linksSeconds)
      const { count } = await within(sql`
        UPDATE media_objects
        SET renditions = (renditions - ${gone}::text) || jsonb_build_object(${name}::text, ${by} || jsonb_build_object(
            'key', ${key}::text, 'until', extract(epoch FROM now() + ${seconds(leaseSeconds)}))),
          stranger_bytes = stranger_bytes - coalesce((renditions #>> ARRAY[${gone}::text, 'sizeBytes'])::bigint, 0),
          ${letBytesIn(bytesSeconds)}
        WHERE id = ${id} AND status = 'active'
          AND ((renditions -> ${name}::text) ? 'sizeBytes') IS NOT TRUE
          AND coalesce((renditions #>> ARRAY[${name}::text, 'until'])::numeric, 0) < ${unixTime}
          AND coalesce((${known(version)} #>> ARRAY[${name}::text, 'until'])::numeric, 0) < ${unixTime}
          AND ${victim === null ? sql`true` : sql`renditions #>> ARRAY[${gone}::text, 'key'] = ${victim.key}`}
          AND (SELECT count(*) FROM jsonb_object_keys(renditions - ${gone}::text - ${name}::text)) < ${MOST_RENDITIONS}`)
      return count > 0
    },

    /** Extends a claim that still holds. */
    async renewRendition({ id, name, key }: Claim, leaseSeconds: number): Promise<boolean> {
      const { count } = await within(sql`
        UPDATE media_objects
        SET renditions = jsonb_set(renditions, ARRAY[${name}::text, 'until'],
            to_jsonb(extract(epoch FROM now() + ${seconds(leaseSeconds)}))),
          ${letBytesIn(leaseSeconds + WRITER_GRACE_SECONDS)}
        WHERE id = ${id} AND status = 'active' AND ${inForce({ name, key })}`)
      return count > 0
    },

    /**
     * Records that the bytes are stored, and perhaps the picture's first placeholder. `lost`: the object is purging, or
     * the claim no longer holds. `over_quota`: the bytes exceed the owner's quota, or what non-owners may cause; the
     * row then remembers it. In both cases the caller has to remove the bytes.
     */
    async keepRendition(
      { id, userId, name, key, own, version }: Claim,
      { sizeBytes, placeholder }: { sizeBytes: number; placeholder: Placeholder | undefined },
    ): Promise<'kept' | 'lost' | 'over_quota'> {
      const { thumbHash, dominantColor } = placeholder ?? {}
      const shown =
        thumbHash === undefined || dominantColor === undefined
          ? sql``
          : sql`metadata = jsonb_build_object('thumbHash', ${thumbHash}::text, 'dominantColor', ${dominantColor}::text)
              || metadata, placeholder_due_at = NULL,`
      const mine = sql`id = ${id} AND status IN ('active', 'deleted') AND ${inForce({ name, key })}`
      const kept = sql`'key', ${key}::text, 'sizeBytes', ${sizeBytes}::bigint`
      if (!own) {
        const fits = sql`stranger_bytes + ${sizeBytes}::bigint <= greatest(size_bytes, ${LEAST_STRANGERS_BYTES}::bigint)`
        const task = forStrangers(name)
        const tries: ReturnType<typeof sql> =
          sql`(1 + coalesce((${known(version)} #>> ARRAY[${task}::text, 'tries'])::int, 0))`
        const fitting = await within(sql`
          UPDATE media_objects
          SET ${shown} stranger_bytes = stranger_bytes + ${sizeBytes},
            renditions = renditions || jsonb_build_object(${name}::text, jsonb_build_object(${kept},
              'by', 'stranger', 'used', floor(${unixTime} / 86400)::int))
          WHERE ${mine} AND ${fits}`)
        if (fitting.count > 0) return 'kept'
        const refused = await within(sql`
          UPDATE media_objects
          SET ${shown} renditions = renditions - ${name}::text, ${noted({ task, version, code: 'quota_exceeded' }, tries)}
          WHERE ${mine} AND NOT ${fits}`)
        return refused.count > 0 ? 'over_quota' : 'lost'
      }
      try {
        const { count } = await within(sql`
          UPDATE media_objects
          SET ${shown} rendition_bytes = rendition_bytes + ${sizeBytes},
            renditions = renditions || jsonb_build_object(${name}::text, jsonb_build_object(${kept}))
          WHERE id = ${id} AND CASE WHEN ${mine}
            THEN ${withinQuota(sql`${userId}::uuid`, { bytes: sizeBytes, objects: 0 })} END`)
        return count > 0 ? 'kept' : 'lost'
      } catch (error) {
        if (!violates(error, QUOTA)) throw error
        const refused = { task: forOwner(name), version, code: 'quota_exceeded', sizeBytes } as const
        await within(sql`UPDATE media_objects SET ${noted(refused, sql`1`)} WHERE ${mine}`)
        return 'over_quota'
      }
    },

    /** Records that a non-owner's rendition was requested today. */
    async noteUse(id: string, name: string, { key }: { key: string }): Promise<void> {
      const today = sql`floor(${unixTime} / 86400)::int`
      await within(sql`
        UPDATE media_objects SET renditions = jsonb_set(renditions, ARRAY[${name}::text, 'used'], to_jsonb(${today}))
        WHERE id = ${id} AND renditions #>> ARRAY[${name}::text, 'key'] = ${key}
          AND (renditions #>> ARRAY[${name}::text, 'used'])::int < ${today}`)
    },

    /** Drops a rendition that is being made, or whose bytes are missing: the next request makes it. */
    async dropRendition(id: string, key: string): Promise<void> {
      // Reads the changed row as it is then: a subquery on the table would see it as it was before a concurrent change.
      const entry = (
        column: ReturnType<typeof sql>,
      ) => sql`(SELECT ${column} FROM jsonb_each(renditions) AS each (name, value)
        WHERE each.value ->> 'key' = ${key})`
      const size = sql`coalesce((each.value ->> 'sizeBytes')::bigint, 0)`
      const ofStrangers = sql`each.value ? 'by'`
      await within(sql`
        UPDATE media_objects
        SET renditions = renditions - ${entry(sql`each.name`)},
          rendition_bytes = rendition_bytes - ${entry(sql`CASE WHEN ${ofStrangers} THEN 0 ELSE ${size} END`)},
          stranger_bytes = stranger_bytes - ${entry(sql`CASE WHEN ${ofStrangers} THEN ${size} ELSE 0 END`)}
        WHERE id = ${id} AND jsonb_path_exists(renditions, '$.* ? (@.key == $key)', jsonb_build_object('key', ${key}::text))`)
    },
  }
}
