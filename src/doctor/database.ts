/** Looks at the database as the start does, without changing it. */
import { connect } from '../db/connect.ts'
import { carriesPreparedStatements } from '../db/pooler.ts'
import { refusalOf, STANDBY } from '../db/refusal.ts'
import { requireUsableSchema } from '../db/schema.ts'
import { readServer } from '../db/server.ts'
import { type Finding, findingsAbout } from '../finding.ts'
import { type ClockReading, type Examined, findingsOf, readClock } from './set-up.ts'

type Settings = { databaseUrl: string; migrate: boolean; preparedStatements: boolean | undefined }

export async function examineDatabase(settings: Settings, now: () => number): Promise<Examined> {
  let clock: ClockReading | undefined
  const findings = await findingsOf(async () => {
    const server = readServer(settings.databaseUrl)
    try {
      const { preparedStatements = server.prepare } = settings
      const carries = await carriesPreparedStatements(settings.databaseUrl)
      const seen = await look({ ...settings, prepare: carries && preparedStatements !== false }, now)
      clock = seen.clock
      return settings.preparedStatements === true && !carries ? [NOT_CARRIED, ...seen.findings] : seen.findings
    } catch (error) {
      return [refusalOf(error, server).finding]
    }
  })
  return { name: 'database', findings, clock }
}

async function look(
  { databaseUrl: url, migrate: mayMigrate, prepare }: Settings & { prepare: boolean },
  now: () => number,
): Promise<{ findings: Finding[]; clock: ClockReading | undefined }> {
  const sql = connect({ url, prepare, connections: 2 })
  try {
    const clock = await readClock({ setting: 'DATABASE_URL', name: 'the database' }, now, async () => {
      const [row] = await sql<{ time: number }[]>`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS time`
      return row?.time
    })
    const findings = await findingsOf(async () => {
      await requireUsableSchema(sql, { mayMigrate })
      return []
    })
    const [{ standby } = { standby: false }] = await sql<{ standby: boolean }[]>`
      SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS standby`
    return { findings: standby ? [STANDBY, ...findings] : findings, clock }
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const { wrong } = findingsAbout('database')
const NOT_CARRIED = wrong(
  'DATABASE_PREPARED_STATEMENTS',
  'true, but a pooler in front of the database does not carry prepared statements',
  'take the setting away, or set max_prepared_statements in PgBouncer 1.21 or later',
)
