-- What was made of a picture, by what it is: {"640x480-75.webp": {"key": …, "sizeBytes": …}}. While one is being made
-- its entry has `until`, in Unix seconds, instead of a size: the maker has it to itself until then.
ALTER TABLE media_objects
  ADD COLUMN renditions jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN rendition_bytes bigint NOT NULL DEFAULT 0 CHECK (rendition_bytes >= 0);

-- They are part of what their owner has.
CREATE OR REPLACE FUNCTION media_count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more_bytes bigint := 0;
  more_objects bigint := 0;
  owner uuid;
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.counted THEN
    owner := OLD.user_id;
    more_bytes := - coalesce(OLD.size_bytes, 0) - OLD.rendition_bytes;
    more_objects := -1;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.counted THEN
    owner := NEW.user_id;
    more_bytes := more_bytes + coalesce(NEW.size_bytes, 0) + NEW.rendition_bytes;
    more_objects := more_objects + 1;
  END IF;
  IF owner IS NULL THEN
    RETURN NULL;
  END IF;
  IF more_objects < 0 THEN
    -- Whoever takes something away waits for the one before, so that the last one sees that nothing is left.
    PERFORM FROM media_usage_shares WHERE user_id = owner ORDER BY share FOR UPDATE;
  END IF;
  -- Share 0 is for quotas.
  INSERT INTO media_usage_shares AS usage (user_id, share, bytes, objects)
    VALUES (owner, 1 + pg_backend_pid() % 32, more_bytes, more_objects)
    ON CONFLICT (user_id, share) DO UPDATE
    SET bytes = usage.bytes + excluded.bytes, objects = usage.objects + excluded.objects;
  IF more_objects < 0 AND NOT EXISTS (SELECT FROM media_usage WHERE user_id = owner) THEN
    DELETE FROM media_usage_shares WHERE user_id = owner;
  END IF;
  RETURN NULL;
END $$;

DROP TRIGGER media_objects_usage_change ON media_objects;
CREATE TRIGGER media_objects_usage_change AFTER UPDATE OF size_bytes, rendition_bytes, counted ON media_objects
  FOR EACH ROW WHEN (OLD.size_bytes IS DISTINCT FROM NEW.size_bytes OR OLD.rendition_bytes <> NEW.rendition_bytes
    OR OLD.counted <> NEW.counted)
  EXECUTE FUNCTION media_count_usage();
