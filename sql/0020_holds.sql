-- How long an object is kept from its completion on unless somebody claims it, and until when; NULL: for good.
ALTER TABLE media_objects ADD COLUMN hold_seconds integer, ADD COLUMN expires_at timestamptz;
-- Replicas of earlier versions insert pending rows without naming this column. A later look is soon enough for any of
-- them: a direct upload must not be completed while its request may still be running.
ALTER TABLE media_objects ALTER COLUMN complete_due_at SET DEFAULT now() + interval '1 hour';
