-- no transaction
-- For upkeep: rows that have keys to remove, by the time from which it may.
CREATE INDEX CONCURRENTLY IF NOT EXISTS media_objects_transient ON media_objects (transient_due_at)
  WHERE transient_due_at IS NOT NULL;
