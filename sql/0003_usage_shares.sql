-- One row for each owner made everything that is uploaded for one owner wait in a queue: each had that row locked until
-- its commit was on disk. Now a connection counts in a share of its own, and an owner has the sum of all shares.
ALTER TABLE media_usage RENAME TO media_usage_shares;
ALTER TABLE media_usage_shares ADD COLUMN share smallint NOT NULL DEFAULT 0;
ALTER TABLE media_usage_shares DROP CONSTRAINT media_usage_pkey;
ALTER TABLE media_usage_shares ADD PRIMARY KEY (user_id, share);

CREATE VIEW media_usage AS
  SELECT user_id, sum(bytes)::bigint AS bytes, sum(objects)::bigint AS objects
  FROM media_usage_shares GROUP BY user_id HAVING sum(objects) > 0;

CREATE OR REPLACE FUNCTION media_count_usage() RETURNS trigger LANGUAGE plpgsql AS $$
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
  IF owner IS NULL THEN
    RETURN NULL;
  END IF;
  IF more_objects < 0 THEN
    -- Whoever takes something away waits for the one before, so that the last one sees that nothing is left.
    PERFORM FROM media_usage_shares WHERE user_id = owner ORDER BY share FOR UPDATE;
  END IF;
  -- Share 0 is for quotas, below.
  INSERT INTO media_usage_shares AS usage (user_id, share, bytes, objects)
    VALUES (owner, 1 + pg_backend_pid() % 32, more_bytes, more_objects)
    ON CONFLICT (user_id, share) DO UPDATE
    SET bytes = usage.bytes + excluded.bytes, objects = usage.objects + excluded.objects;
  IF more_objects < 0 AND NOT EXISTS (SELECT FROM media_usage WHERE user_id = owner) THEN
    DELETE FROM media_usage_shares WHERE user_id = owner;
  END IF;
  RETURN NULL;
END $$;

-- As before: with quotas, whoever comes at the same time waits for share 0, and then sees what the others have added.
CREATE OR REPLACE FUNCTION media_reserve(owner uuid, more_bytes bigint, more_objects bigint, quota_bytes bigint, quota_objects bigint)
RETURNS boolean LANGUAGE plpgsql VOLATILE COST 10000 AS $$
DECLARE
  used record;
BEGIN
  INSERT INTO media_usage_shares AS usage (user_id, share, bytes, objects) VALUES (owner, 0, 0, 0)
    ON CONFLICT (user_id, share) DO UPDATE SET bytes = usage.bytes;
  SELECT sum(bytes) AS bytes, sum(objects) AS objects INTO used FROM media_usage_shares WHERE user_id = owner;
  IF used.bytes + more_bytes > quota_bytes OR used.objects + more_objects > quota_objects THEN
    RAISE check_violation USING CONSTRAINT = 'media_quota', MESSAGE = 'the quota is used up';
  END IF;
  RETURN true;
END $$;
