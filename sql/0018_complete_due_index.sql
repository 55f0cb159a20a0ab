-- no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS media_objects_complete_due ON media_objects (complete_due_at)
  WHERE status = 'pending' AND complete_due_at IS NOT NULL;
