-- What decoding a picture came to, where it came to nothing, by task: a rendition's name, `renditions`, `clean`,
-- `placeholder`, or `*` for the picture as a whole:
-- {"clean": {"source": KEY, "code": "image_too_large", "tries": 1, "until": UNIX SECONDS}}. It holds for this version of
-- the decoders and their limits only; NULL where nothing is remembered.
ALTER TABLE media_objects
  ADD COLUMN decode_outcomes jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN decode_version varchar(255);

-- Bytes of the renditions that strangers had made. They are bounded by the row, and no part of what the owner has:
-- rendition_bytes counts the others.
ALTER TABLE media_objects ADD COLUMN stranger_bytes bigint NOT NULL DEFAULT 0;

ALTER TABLE media_objects
  ADD CONSTRAINT media_objects_decode_outcomes CHECK (jsonb_typeof(decode_outcomes) = 'object') NOT VALID,
  ADD CONSTRAINT media_objects_stranger_bytes CHECK (stranger_bytes >= 0) NOT VALID;
