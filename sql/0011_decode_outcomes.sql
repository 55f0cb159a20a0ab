-- no transaction
ALTER TABLE media_objects VALIDATE CONSTRAINT media_objects_decode_outcomes;
ALTER TABLE media_objects VALIDATE CONSTRAINT media_objects_stranger_bytes;

-- Pictures that the decoders have refused, by the version that did; NULL: before versions were kept. Trying them again
-- after an upgrade finds them here.
CREATE INDEX CONCURRENTLY IF NOT EXISTS media_objects_refused ON media_objects (decode_version)
  WHERE decode_version IS NOT NULL OR publish_due_at IS NULL OR publish_due_at = 'infinity'
    OR (placeholder_due_at IS NULL AND mime_type LIKE 'image/%' AND NOT metadata ? 'thumbHash');
