/** Shared by all uploads: a new object's id and key, and the reasons for which it gets no row. */

import { v7 as uuidv7 } from 'uuid'
import { Problem } from '../../problem.ts'
import { concerns } from '../../telemetry/record.ts'
import type { Inserted } from '../object/new-object.ts'
import { nameOfOriginal, prefixOf } from '../object/object.ts'
import { overQuota } from '../object/quota.ts'

/** A new object's id and key. Ids are in order of time, and so are listings of the store. */
export function newId(madeAt: number, mimeType: string): { id: string; madeAt: number; key: string } {
  const id = uuidv7({ msecs: madeAt })
  concerns(id)
  return { id, madeAt, key: prefixOf(id) + nameOfOriginal(mimeType) }
}

export function tooSlow(): Problem {
  return new Problem('database_unavailable', 'The upload took too long. Start it again.')
}

/** Why an upload got no row. */
export function refusal(inserted: Exclude<Inserted, 'inserted'>): Problem {
  return inserted === 'over_quota' ? overQuota() : tooSlow()
}
