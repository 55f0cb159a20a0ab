/** What really happened to rows, written down by the database itself: the service can neither forget nor invent it. */
import type { Sql } from '../../src/db/connect.ts'

/** One change of one row. `eventId` and `channel` are of the event that the same statement owed; null when none. */
export type Arrow = {
  id: string
  from: string
  to: string
  seq: number
  channel: string | null
  eventId: string | null
}

/** Sets the witness up; the tables must be there. */
export async function watchArrows(
  sql: Sql,
): Promise<{ arrows(): Promise<Map<string, Arrow[]>>; clear(): Promise<void> }> {
  await sql.unsafe(`
    CREATE TABLE clock.arrows (
      number bigserial, id uuid, from_status text, to_status text, seq integer, channel text, event_id text);
    CREATE FUNCTION clock.witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO clock.arrows (id, from_status, to_status, seq, channel, event_id) VALUES (
        NEW.id, OLD.status, NEW.status, NEW.event_seq,
        CASE WHEN NEW.event_seq > OLD.event_seq THEN NEW.outbox -> -1 ->> 'channel' END,
        CASE WHEN NEW.event_seq > OLD.event_seq THEN NEW.outbox -> -1 -> 'payload' ->> 'eventId' END);
      RETURN NULL;
    END $$;
    CREATE TRIGGER witness AFTER UPDATE ON media_objects FOR EACH ROW
      WHEN (OLD.status <> NEW.status OR OLD.event_seq <> NEW.event_seq
        OR OLD.original_name <> NEW.original_name OR OLD.visibility <> NEW.visibility)
      EXECUTE FUNCTION clock.witness()`)
  return {
    async arrows() {
      const rows = await sql<Arrow[]>`
        SELECT id, from_status AS from, to_status AS to, seq, channel, event_id AS "eventId"
        FROM clock.arrows ORDER BY number`
      return Map.groupBy(rows, ({ id }) => id)
    },
    async clear() {
      await sql`DELETE FROM clock.arrows`
    },
  }
}
