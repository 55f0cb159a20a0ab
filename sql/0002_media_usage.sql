-- What each owner has: every object from its beginning until its bytes are removed and no upload link can bring more.
-- Kept by a trigger, in the transaction of the change itself, so that no statement can forget it.
CREATE TABLE media_usage (
  user_id uuid PRIMARY KEY,
  bytes bigint NOT NULL,
  objects bigint NOT NULL
  -- Room for new versions of a row beside the old ones: with each upload it changes, and no index with it.
) WITH (fillfactor = 50);

-- Whether the row is part of its owner's usage; false only while purging.
ALTER TABLE media_objects ADD COLUMN counted boolean NOT NULL DEFAULT true CHECK (counted OR status = 'purging');

INSERT INTO media_usage
  SELECT user_id, coalesce(sum(size_bytes), 0), count(*) FROM media_objects GROUP BY user_id;

CREATE FUNCTION media_count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more_bytes bigint := 0;
  more_objects bigint := 0;
  owner uuid;
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.counted THEN
    owner := OLD.user_id;
    more_bytes := - coalesce(OLD.size_bytes, 0);
    more_objects := -1;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.counted THEN
    owner := NEW.user_id;
    more_bytes := more_bytes + coalesce(NEW.size_bytes, 0);
    more_objects := more_objects + 1;
  END IF;
  IF more_objects > 0 THEN
    INSERT INTO media_usage AS usage VALUES (owner, more_bytes, more_objects)
      ON CONFLICT (user_id) DO UPDATE
      SET bytes = usage.bytes + excluded.bytes, objects = usage.objects + excluded.objects;
  ELSIF owner IS NOT NULL THEN
    UPDATE media_usage SET bytes = bytes + more_bytes, objects = objects + more_objects WHERE user_id = owner;
    DELETE FROM media_usage WHERE user_id = owner AND objects = 0;
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER media_objects_usage AFTER INSERT OR DELETE ON media_objects
  FOR EACH ROW EXECUTE FUNCTION media_count_usage();
CREATE TRIGGER media_objects_usage_change AFTER UPDATE OF size_bytes, counted ON media_objects
  FOR EACH ROW WHEN (OLD.size_bytes IS DISTINCT FROM NEW.size_bytes OR OLD.counted <> NEW.counted)
  EXECUTE FUNCTION media_count_usage();

-- True, with the owner's usage locked until the end of the transaction, when this much more is within the quotas (NULL
-- for none); else an error with the constraint `media_quota`. Whoever comes at the same time waits, and then sees it.
CREATE FUNCTION media_reserve(owner uuid, more_bytes bigint, more_objects bigint, quota_bytes bigint, quota_objects bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE COST 10000 AS $$
DECLARE
  used media_usage;
BEGIN
  INSERT INTO media_usage AS usage VALUES (owner, 0, 0)
    ON CONFLICT (user_id) DO UPDATE SET bytes = usage.bytes RETURNING * INTO used;
  IF used.bytes + more_bytes > quota_bytes OR used.objects + more_objects > quota_objects THEN
    RAISE check_violation USING CONSTRAINT = 'media_quota', MESSAGE = 'the quota is used up';
  END IF;
  RETURN true;
END $$;
