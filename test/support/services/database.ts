import postgres from 'postgres'
import { services } from './shared.ts'

export type TestDatabase = { url: string; drop(): Promise<void> }

/** An empty database of its own for a suite; `drop` also ends connections that are still open to it. */
export async function createDatabase(): Promise<TestDatabase> {
  const { databaseUrl } = await services()
  const name = `test_${crypto.randomUUID().replaceAll('-', '')}`
  await asSuperuser(databaseUrl, (sql) => sql`create database ${sql(name)}`)
  const url = new URL(databaseUrl)
  url.pathname = `/${name}`
  return {
    url: url.href,
    drop: () => asSuperuser(databaseUrl, (sql) => sql`drop database if exists ${sql(name)} with (force)`),
  }
}

async function asSuperuser(url: string, work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await work(sql)
  } finally {
    await sql.end()
  }
}
