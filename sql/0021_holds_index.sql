-- no transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS media_objects_held ON media_objects (expires_at)
  WHERE (status = 'active' AND expires_at IS NOT NULL) IS TRUE;
