-- Keys below the object's prefixes that are not the object's yet, or not any more: {"public/…": until when bytes can still
-- arrive there, in Unix seconds}. A key gets here before its bytes are sent; the statement that makes it the object's takes
-- it out, and only before that time. A negative time belongs to a key that must not become the object's any more. A key
-- that the object loses gets here by the same statement. Upkeep removes the bytes from transient_due_at on.
ALTER TABLE media_objects
  ADD COLUMN transient_keys jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN transient_due_at timestamptz,
  -- The sweep that is under way. A token of its own, because a time can be the same as another one.
  ADD COLUMN sweep_claim uuid,
  ADD COLUMN sweep_claimed_until timestamptz;

-- The second search for bytes without a row, which begins again and again; see src/media/upkeep/steps/orphans.ts.
INSERT INTO media_upkeep (job) VALUES ('recheck of media/'), ('recheck of public/');
