-- When upkeep next tries to make a picture's placeholder (`thumbHash` and `dominantColor` in metadata), and how often it
-- has tried; NULL when there is one, or trying again is of no use. Pictures that are here already are due at once. New
-- ones are a minute after they began: most are looked at by then, which makes their placeholder, too.
ALTER TABLE media_objects ADD COLUMN placeholder_due_at timestamptz DEFAULT now();
ALTER TABLE media_objects ALTER COLUMN placeholder_due_at SET DEFAULT now() + interval '1 minute';
ALTER TABLE media_objects ADD COLUMN placeholder_tries smallint NOT NULL DEFAULT 0;

CREATE INDEX media_objects_placeholder ON media_objects (placeholder_due_at)
  WHERE status = 'active' AND mime_type LIKE 'image/%' AND placeholder_due_at IS NOT NULL;
