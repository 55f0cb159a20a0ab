-- What others than its owner get of a public object, where that is not the original: pictures without metadata, and
-- whatever a CDN serves. The original itself stays below media/. NULL while there is none.
ALTER TABLE media_objects ADD COLUMN public_key varchar(255) COLLATE "C" UNIQUE;
-- When upkeep next tries to make it, for a CDN, and how often it has tried. NULL where the bytes do not allow it, so that
-- nobody tries again.
ALTER TABLE media_objects ADD COLUMN publish_due_at timestamptz DEFAULT now();
ALTER TABLE media_objects ADD COLUMN publish_tries smallint NOT NULL DEFAULT 0;

CREATE INDEX media_objects_publish ON media_objects (publish_due_at)
  WHERE status = 'active' AND visibility = 'public' AND public_key IS NULL AND publish_due_at IS NOT NULL;
-- Pictures that a CDN serves as they came, which is to end when PUBLIC_ORIGINALS is turned off.
CREATE INDEX media_objects_uncleaned ON media_objects (id)
  WHERE mime_type LIKE 'image/%' AND public_key LIKE '%/original.%';
