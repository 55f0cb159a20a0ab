-- no transaction
-- An Idempotency-Key stays with its object until that is gone for good: this finds the ones on their way out. Attempts
-- that failed before they became an object have announced nothing, and may be made again.
CREATE INDEX CONCURRENTLY IF NOT EXISTS media_objects_idempotency_removed ON media_objects (user_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL AND status = 'purging' AND event_seq > 0;
