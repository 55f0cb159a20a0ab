-- From when on upkeep looks whether the bytes of a pending upload have arrived, to complete it by itself; NULL: it does not
-- (any more). Each try sets the next time before it begins.
ALTER TABLE media_objects ADD COLUMN complete_due_at timestamptz;
ALTER TABLE media_objects ADD COLUMN complete_tries integer NOT NULL DEFAULT 0;
