import postgres from 'postgres'
import { connect } from '../../../src/db/connect.ts'
import { migrate } from '../../../src/db/migrate.ts'
import { hashOfMigrations } from './migrations.ts'
import { services } from './shared.ts'

export type TestDatabase = { url: string; drop(): Promise<void> }

/**
 * A database of its own for a suite, empty unless it is to be `migrated`, which is a copy of one that was migrated once;
 * `drop` also ends connections that are still open to it.
 */
export async function createDatabase({ migrated = false } = {}): Promise<TestDatabase> {
  const { databaseUrl } = await services()
  const name = newName()
  const template = migrated ? await migratedTemplate(databaseUrl) : 'template1'
  await asSuperuser(databaseUrl, (sql) => sql`create database ${sql(name)} template ${sql(template)}`)
  return { url: urlOf(databaseUrl, name), drop: () => drop(databaseUrl, name) }
}

// Key of the advisory lock under which the template is made: any number that nothing else uses.
const LOCK = 7_233_501_947

const templates = new Map<string, Promise<string>>()

/** Made once on this server, for all processes; it stays there, and is another one when the migrations change. */
function migratedTemplate(databaseUrl: string): Promise<string> {
  const known = templates.get(databaseUrl)
  if (known) return known
  const template = makeTemplate(databaseUrl)
  templates.set(databaseUrl, template)
  return template
}

async function makeTemplate(databaseUrl: string): Promise<string> {
  const template = `test_template_${await hashOfMigrations()}`
  await asSuperuser(databaseUrl, async (sql) => {
    await sql`select pg_advisory_lock(${LOCK})`
    const found = await sql`select from pg_database where datname = ${template}`
    if (found.length > 0) return
    const unfinished = newName()
    await sql`create database ${sql(unfinished)}`
    try {
      const own = connect({ url: urlOf(databaseUrl, unfinished) })
      await migrate(own).finally(() => own.end({ timeout: 5 }))
      // Whole from the moment that it has its name.
      await sql`alter database ${sql(unfinished)} rename to ${sql(template)}`
    } catch (error) {
      await drop(databaseUrl, unfinished)
      throw error
    }
  })
  return template
}

function newName(): string {
  return `test_${crypto.randomUUID().replaceAll('-', '')}`
}

function urlOf(databaseUrl: string, name: string): string {
  return Object.assign(new URL(databaseUrl), { pathname: `/${name}` }).href
}

function drop(databaseUrl: string, name: string): Promise<void> {
  return asSuperuser(databaseUrl, (sql) => sql`drop database if exists ${sql(name)} with (force)`)
}

async function asSuperuser(url: string, work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await work(sql)
  } finally {
    await sql.end()
  }
}
