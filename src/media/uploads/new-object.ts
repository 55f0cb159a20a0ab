/** What uploads have in common while they are under way, however the bytes come. */
import { v7 as uuidv7 } from 'uuid'
import { INVALID_FIELDS, Problem } from '../../problem.ts'
import { concerns } from '../../telemetry/record.ts'
import { prefixOf } from '../object/object.ts'
import type { Inserted } from '../table/repository.ts'
import { extensionOf } from './inspect.ts'

/** A PUT may go on after its caller gave up on it, and a link's PUT may begin in its last second and take its time. */
export const WRITER_GRACE_SECONDS = 3600

/** A new object's id and key. Ids are in order of time, so that a listing of the store is, too. */
export function newId(madeAt: number, mimeType: string): { id: string; madeAt: number; key: string } {
  const id = uuidv7({ msecs: madeAt })
  concerns(id)
  return { id, madeAt, key: `${prefixOf(id)}original${extensionOf(mimeType)}` }
}

export function tooSlow(): Problem {
  return new Problem('database_unavailable', 'The upload took too long. Start it again.')
}

/** Space comes back when something is purged, which takes the retention time: retrying soon is of no use. */
export function overQuota(): Problem {
  return new Problem('quota_exceeded', 'This is more than you may store. Remove something first.', {
    retryAfterSeconds: 3600,
  })
}

/** Quotas count what is declared, so it has to be. */
export function sizeRequired(): Problem {
  return new Problem('request_invalid', INVALID_FIELDS, {
    arguments: [{ argument: 'size', message: 'is required, because there are quotas' }],
  })
}

/** Why there is no row for an upload. */
export function refusal(inserted: Exclude<Inserted, 'inserted'>): Problem {
  return inserted === 'over_quota' ? overQuota() : tooSlow()
}
