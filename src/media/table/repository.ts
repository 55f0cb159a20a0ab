/** All SQL on media_objects, grouped by use. Each arrow of an object's life is one conditional statement. */
import { NO_QUOTAS, type Quotas } from '../object/quota.ts'
import { type ArrivalStatements, createArrivalStatements } from './arrivals.ts'
import { createContext, type TableSettings } from './context.ts'
import { createGatheredStatements } from './gathered.ts'
import { createHealthStatements, type HealthStatements } from './health.ts'
import { createHoldStatements, type HoldStatements } from './holds.ts'
import { createKeyStatements, type KeyStatements } from './keys.ts'
import { createMultipartUploadStatements, type MultipartUploadStatements } from './multipart-uploads.ts'
import { createObjectStatements, type ObjectStatements } from './objects.ts'
import { createOutboxStatements, type OutboxStatements } from './outbox.ts'
import { createOutcomeStatements, type OutcomeStatements } from './outcomes.ts'
import { createOwnerStatements, type OwnerStatements } from './owners.ts'
import { createPlaceholderStatements, type PlaceholderStatements } from './placeholders.ts'
import { createPublicCopyStatements, type PublicCopyStatements } from './public-copies.ts'
import { createPurgingStatements, type PurgingStatements } from './purging.ts'
import { createRenditionStatements, type RenditionStatements } from './renditions.ts'
import { createSearchStatements, type SearchStatements } from './searches.ts'
import { createShapeStatements, type ShapeStatements } from './shapes.ts'
import { createSweepStatements, type SweepStatements } from './sweeps.ts'
import { createTransientStatements, type TransientStatements } from './transients.ts'
import { createTusUploadStatements, type TusUploadStatements } from './tus.ts'
import { createUploadStatements, type UploadStatements } from './uploads.ts'

/**
 * The statements on media_objects, and on the bookkeeping of upkeep. Each part of the domain asks for the groups that it
 * uses. Every method throws Problem `database_unavailable` when the database fails or misses its deadline
 * (DATABASE_DEADLINE_MS); it is then unknown whether the statement was applied. Times are in seconds and by the
 * database's clock, sizes in bytes.
 */
export interface Repository {
  /** Uploads of every protocol: pending rows, and what becomes of them. */
  uploads: UploadStatements
  /** What a pending row says of its multipart upload. */
  multipartUploads: MultipartUploadStatements
  /** What a pending row says of its tus upload, and the lease of its writer. */
  tusUploads: TusUploadStatements
  /** Pending uploads whose bytes may have arrived. */
  arrivals: ArrivalStatements
  /** Active and soft-deleted objects. */
  objects: ObjectStatements
  /** Objects that are held for a claim. */
  holds: HoldStatements
  /** Renditions of a picture: claimed, made, kept or dropped. */
  renditions: RenditionStatements
  /** Failures of decoding that a row remembers. */
  outcomes: OutcomeStatements
  /** Placeholders of pictures, made by upkeep. */
  placeholders: PlaceholderStatements
  /** Public copies of objects. */
  publicCopies: PublicCopyStatements
  /** Keys that are not yet, or no longer, an object's own. */
  transients: TransientStatements
  /** All objects of one owner. */
  owners: OwnerStatements
  /** Events that rows owe. */
  outbox: OutboxStatements
  /** The way to purging, and out of it. */
  purging: PurgingStatements
  /** Sweeps of objects' prefixes. */
  sweeps: SweepStatements
  /** Positions of the searches for orphans. */
  searches: SearchStatements
  /** Comparison of the store's keys with the table. */
  keys: KeyStatements
  /** Repair of rows whose JSON was stored encoded twice. */
  shapes: ShapeStatements
  /** For probes and metrics. */
  health: HealthStatements
}

/** Seconds. */
type Settings = Omit<TableSettings, 'quotas'> & { quotas?: Quotas }

export function createRepository({ quotas = NO_QUOTAS, ...settings }: Settings): Repository {
  const context = createContext({ ...settings, quotas })
  const gathered = { ...context, gathered: createGatheredStatements(context) }
  return {
    uploads: createUploadStatements(gathered),
    multipartUploads: createMultipartUploadStatements(context),
    tusUploads: createTusUploadStatements(context),
    arrivals: createArrivalStatements(context),
    objects: createObjectStatements(gathered),
    holds: createHoldStatements(context),
    renditions: createRenditionStatements(gathered),
    outcomes: createOutcomeStatements(context),
    placeholders: createPlaceholderStatements(context),
    publicCopies: createPublicCopyStatements(context),
    transients: createTransientStatements(context),
    owners: createOwnerStatements(context),
    outbox: createOutboxStatements(gathered),
    purging: createPurgingStatements(context),
    sweeps: createSweepStatements(context),
    searches: createSearchStatements(context),
    keys: createKeyStatements(context),
    shapes: createShapeStatements(context),
    health: createHealthStatements(context),
  }
}
