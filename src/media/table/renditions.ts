/** Statements on renditions. A row lists the key of a rendition before its bytes are stored. */
import { type Fragment, within } from '../../db/connect.ts'
import { violates } from '../../db/errors.ts'
import { WRITER_GRACE_SECONDS } from '../object/graces.ts'
import type { Placeholder } from '../object/object.ts'
import { forNonOwners, forOwner } from '../object/outcomes.ts'
import { LEAST_NON_OWNERS_BYTES, MOST_RENDITIONS, type Rendered, type Victim } from '../object/places.ts'
import type { Viewer } from '../object/viewer.ts'
import type { Context } from './context.ts'
import { QUOTA } from './fragments.ts'
import type { GatheredContext } from './gathered.ts'
import { known, nextTry, noted } from './outcomes.ts'

/** The claim on making a rendition, under a key of its own. `own`: for the owner, or over a signed link. */
export type Claim = { id: string; userId: string; name: string; key: string; own: boolean; version: string }

/** `victim`: the rendition to evict. `linksSeconds`: how long links to it live. */
type Terms = { victim: Victim | null; leaseSeconds: number; linksSeconds: number }
/** See `RenditionStatements.keep`. */
type Kept = 'kept' | 'lost' | 'over_quota'
/** The result of the decoder. */
type Encoded = { sizeBytes: number; placeholder: Placeholder | undefined }

export interface RenditionStatements {
  /**
   * An active object that the viewer may see, with its renditions, and the outcomes of this version of the decoders.
   */
  find(id: string, viewer: Viewer, version: string): Promise<Rendered | null>
  /**
   * Claims the making of a rendition for a while, under a new key; from then on, upkeep sweeps its bytes unless they
   * are kept. An evicted rendition leaves the row now, and its bytes stay while links to them live. False when the
   * rendition is stored, or another maker has it; when making it failed and its retry is not due; or when the object
   * is no longer active, or has as many renditions as it may.
   */
  claim(claim: Claim, terms: Terms): Promise<boolean>
  /** Extends a claim that still holds. */
  renew(claim: Claim, leaseSeconds: number): Promise<boolean>
  /**
   * Records that the bytes are stored, and perhaps the picture's first placeholder. `lost`: the object is purging, or
   * the claim no longer holds. `over_quota`: the bytes exceed the owner's quota, or what non-owners may cause; the
   * row then remembers it. In both cases the caller has to remove the bytes.
   */
  keep(claim: Claim, rendition: Encoded): Promise<Kept>
  /** Records that a non-owner's rendition was requested today. */
  noteUse(id: string, name: string, entry: { key: string }): Promise<void>
  /** Drops a rendition that is being made, or whose bytes are missing: the next request makes it. */
  drop(id: string, key: string): Promise<void>
}

export function createRenditionStatements(context: GatheredContext): RenditionStatements {
  return {
    find: (id, viewer, version) => find(context, id, viewer, version),
    claim: (made, terms) => claim(context, made, terms),
    renew: (made, leaseSeconds) => renew(context, made, leaseSeconds),
    keep: (made, rendition) => keep(context, made, rendition),
    noteUse: (id, name, entry) => noteUse(context, id, name, entry),
    drop: (id, key) => drop(context, id, key),
  }
}

async function find(
  { gathered }: GatheredContext,
  id: string,
  viewer: Viewer,
  version: string,
): Promise<Rendered | null> {
  return gathered.findRendered({ id, viewer, version })
}

async function claim(
  context: Context,
  { id, name, key, own, version }: Claim,
  { victim, leaseSeconds, linksSeconds }: Terms,
): Promise<boolean> {
  const { sql, seconds, epoch, letBytesIn } = context
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
      AND coalesce((renditions #>> ARRAY[${name}::text, 'until'])::numeric, 0) < ${epoch}
      AND coalesce((${known(context, version)} #>> ARRAY[${name}::text, 'until'])::numeric, 0) < ${epoch}
      AND ${victim === null ? sql`true` : sql`renditions #>> ARRAY[${gone}::text, 'key'] = ${victim.key}`}
      AND (SELECT count(*) FROM jsonb_object_keys(renditions - ${gone}::text - ${name}::text)) < ${MOST_RENDITIONS}`)
  return count > 0
}

async function renew(context: Context, { id, name, key }: Claim, leaseSeconds: number): Promise<boolean> {
  const { sql, seconds, letBytesIn } = context
  const { count } = await within(sql`
    UPDATE media_objects
    SET renditions = jsonb_set(renditions, ARRAY[${name}::text, 'until'],
        to_jsonb(extract(epoch FROM now() + ${seconds(leaseSeconds)}))),
      ${letBytesIn(leaseSeconds + WRITER_GRACE_SECONDS)}
    WHERE id = ${id} AND status = 'active' AND ${inForce(context, { name, key })}`)
  return count > 0
}

async function keep(context: Context, claim: Claim, { sizeBytes, placeholder }: Encoded): Promise<Kept> {
  const { sql } = context
  const { thumbHash, dominantColor } = placeholder ?? {}
  const shown =
    thumbHash === undefined || dominantColor === undefined
      ? sql``
      : sql`metadata = jsonb_build_object('thumbHash', ${thumbHash}::text, 'dominantColor', ${dominantColor}::text)
      || metadata, placeholder_due_at = NULL,`
  const mine = sql`id = ${claim.id} AND status IN ('active', 'deleted') AND ${inForce(context, claim)}`
  return (claim.own ? keepForOwner : keepForNonOwners)(context, claim, { sizeBytes, shown, mine })
}

/** `shown`: the SET clauses of the placeholder. `mine`: the condition for the row. */
type Keeping = { sizeBytes: number; shown: Fragment; mine: Fragment }

/** Keeps a rendition within the bytes that non-owners may cause to be stored. */
async function keepForNonOwners(
  context: Context,
  { name, key, version }: Claim,
  { sizeBytes, shown, mine }: Keeping,
): Promise<Kept> {
  const { sql, epoch } = context
  const fits = sql`stranger_bytes + ${sizeBytes}::bigint <= greatest(size_bytes, ${LEAST_NON_OWNERS_BYTES}::bigint)`
  const fitting = await within(sql`
    UPDATE media_objects
    SET ${shown} stranger_bytes = stranger_bytes + ${sizeBytes},
      renditions = renditions || jsonb_build_object(${name}::text, jsonb_build_object(
        'key', ${key}::text, 'sizeBytes', ${sizeBytes}::bigint,
        'by', 'stranger', 'used', floor(${epoch} / 86400)::int))
    WHERE ${mine} AND ${fits}`)
  if (fitting.count > 0) return 'kept'
  const task = forNonOwners(name)
  const refused = { task, version, code: 'quota_exceeded' } as const
  const { count } = await within(sql`
    UPDATE media_objects
    SET ${shown} renditions = renditions - ${name}::text, ${noted(context, refused, nextTry(context, task, version))}
    WHERE ${mine} AND NOT ${fits}`)
  return count > 0 ? 'over_quota' : 'lost'
}

/** Keeps a rendition within the owner's quota. */
async function keepForOwner(
  context: Context,
  { id, userId, name, key, version }: Claim,
  { sizeBytes, shown, mine }: Keeping,
): Promise<Kept> {
  const { sql, withinQuota } = context
  try {
    const { count } = await within(sql`
      UPDATE media_objects
      SET ${shown} rendition_bytes = rendition_bytes + ${sizeBytes},
        renditions = renditions || jsonb_build_object(${name}::text, jsonb_build_object(
          'key', ${key}::text, 'sizeBytes', ${sizeBytes}::bigint))
      WHERE id = ${id} AND CASE WHEN ${mine}
        THEN ${withinQuota(sql`${userId}::uuid`, { bytes: sizeBytes, objects: 0 })} END`)
    return count > 0 ? 'kept' : 'lost'
  } catch (error) {
    if (!violates(error, QUOTA)) throw error
    const refused = { task: forOwner(name), version, code: 'quota_exceeded', sizeBytes } as const
    await within(sql`UPDATE media_objects SET ${noted(context, refused, sql`1`)} WHERE ${mine}`)
    return 'over_quota'
  }
}

async function noteUse({ sql, epoch }: Context, id: string, name: string, { key }: { key: string }): Promise<void> {
  const today = sql`floor(${epoch} / 86400)::int`
  await within(sql`
    UPDATE media_objects SET renditions = jsonb_set(renditions, ARRAY[${name}::text, 'used'], to_jsonb(${today}))
    WHERE id = ${id} AND renditions #>> ARRAY[${name}::text, 'key'] = ${key}
      AND (renditions #>> ARRAY[${name}::text, 'used'])::int < ${today}`)
}

async function drop({ sql }: Context, id: string, key: string): Promise<void> {
  // Reads the changed row as it is then: a subquery on the table would see it as it was before a concurrent change.
  const entry = (column: Fragment) => sql`(SELECT ${column} FROM jsonb_each(renditions) AS each (name, value)
    WHERE each.value ->> 'key' = ${key})`
  const size = sql`coalesce((each.value ->> 'sizeBytes')::bigint, 0)`
  const ofNonOwners = sql`each.value ? 'by'`
  await within(sql`
    UPDATE media_objects
    SET renditions = renditions - ${entry(sql`each.name`)},
      rendition_bytes = rendition_bytes - ${entry(sql`CASE WHEN ${ofNonOwners} THEN 0 ELSE ${size} END`)},
      stranger_bytes = stranger_bytes - ${entry(sql`CASE WHEN ${ofNonOwners} THEN ${size} ELSE 0 END`)}
    WHERE id = ${id} AND jsonb_path_exists(renditions, '$.* ? (@.key == $key)', jsonb_build_object('key', ${key}::text))`)
}

/** Whether a claim holds: a maker that slept has lost it, perhaps to another one. */
function inForce({ sql, epoch }: Context, { name, key }: Pick<Claim, 'name' | 'key'>): Fragment {
  return sql`
    renditions #>> ARRAY[${name}::text, 'key'] = ${key}
    AND (renditions #>> ARRAY[${name}::text, 'until'])::numeric > ${epoch}`
}
