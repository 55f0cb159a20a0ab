/** All SQL on media_objects. Each arrow of an object's life is one conditional statement. */
import { type Queryable, within } from '../../db/connect.ts'
import type { MediaEvent } from '../../events/events.ts'
import type { Quotas } from '../object/quota.ts'
import { areLimited, NO_QUOTAS } from '../object/quota.ts'
import { createBacklogStatements } from './backlog.ts'
import { createFragments } from './fragments.ts'
import { createGatheredStatements } from './gathered.ts'
import { createMultipartStatements } from './multipart-uploads.ts'
import { createObjectStatements } from './objects.ts'
import { createOutcomeStatements } from './outcomes.ts'
import { createOwnerStatements } from './owners.ts'
import { createPlaceholderStatements } from './placeholders.ts'
import { createPublicationStatements } from './public-copies.ts'
import { createRenditionStatements } from './renditions.ts'
import { createShapeStatements } from './shapes.ts'
import { createTransientStatements } from './transients.ts'
import { createTusStatements } from './tus.ts'
import { createUpkeepStatements } from './upkeep.ts'
import { createUploadStatements } from './uploads.ts'

export type Repository = ReturnType<typeof createRepository>

type Settings = { sql: Queryable; pendingSeconds: number; retentionSeconds: number; quotas?: Quotas }

export function createRepository({ sql, pendingSeconds, retentionSeconds, quotas = NO_QUOTAS }: Settings) {
  const fragments = createFragments(sql, quotas)
  const gathered = createGatheredStatements({ sql, pendingSeconds })

  return {
    ...createUploadStatements({ sql, fragments, gathered, pendingSeconds, limited: areLimited(quotas) }),
    ...createObjectStatements({ sql, fragments, gathered, retentionSeconds }),
    ...createUpkeepStatements({ sql, fragments, pendingSeconds, retentionSeconds }),
    ...createRenditionStatements({ sql, fragments }),
    ...createOutcomeStatements({ sql, fragments }),
    ...createMultipartStatements({ sql, fragments, pendingSeconds }),
    ...createTusStatements({ sql, fragments }),
    ...createOwnerStatements({ sql, fragments }),
    ...createPlaceholderStatements({ sql, fragments }),
    ...createPublicationStatements({ sql, fragments }),
    ...createTransientStatements({ sql, fragments }),
    ...createBacklogStatements({ sql }),
    ...createShapeStatements({ sql, fragments }),

    /** Removes exactly these events from their rows' outboxes; events added meanwhile stay, and are due at once. */
    async settle(events: readonly MediaEvent[]): Promise<void> {
      const sent = Map.groupBy(events, ({ payload }) => payload.id)
      const eventIds = (of: MediaEvent[]) => of.map(({ payload }) => payload.eventId)
      await Promise.all([...sent].map(([id, of]) => gathered.settle({ id, sent: eventIds(of) })))
    },

    /**
     * Resolves when the database answers and takes changes. On a standby (`pg_is_in_recovery()`) and on a primary that
     * was made read-only, locking fails (25006), even of no rows, and the pool is replaced.
     */
    async check(): Promise<void> {
      await within(sql`SELECT FROM media_objects WHERE false FOR UPDATE`)
    },
  }
}
