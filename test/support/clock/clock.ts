/** Lets time pass: for the service, which is given its clock, and for its database, whose `now()` is shifted. */
import type { Sql } from '../../../src/db/connect.ts'
import type { OpenDatabase } from '../services/databases.ts'

export type Clock = {
  /** Unix time in milliseconds. */
  now(): number
  advance(seconds: number): Promise<void>
}

/**
 * Gives an empty database a `now()` of its own, before anything is created in it: found before the real one wherever
 * SQL says `now()`, because `pg_catalog` is only searched first when `search_path` does not name it. Returns a
 * connection that has it.
 */
export async function shiftClock(database: OpenDatabase): Promise<{ sql: Sql; clock: Clock }> {
  await database.sql.unsafe(`
    CREATE SCHEMA clock;
    CREATE TABLE clock.shift (ahead interval NOT NULL);
    INSERT INTO clock.shift VALUES ('0');
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
      RETURN pg_catalog.now() + (SELECT ahead FROM clock.shift);
    DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET search_path = public, clock, pg_catalog', current_database());
    END $$;
    SET search_path = public, clock, pg_catalog`)
  const sql = database.connectAgain()
  let ahead = 0
  return {
    sql,
    clock: {
      now: () => Date.now() + ahead,
      async advance(seconds) {
        await sql`UPDATE clock.shift SET ahead = ahead + ${seconds} * interval '1 second'`
        ahead += seconds * 1000
      },
    },
  }
}
