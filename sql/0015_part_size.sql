-- The size of every part but the last, in bytes, as it was with the first link to one: all links then are for exactly
-- the bytes of one division of the file. Null before, and for an upload that came otherwise.
ALTER TABLE media_objects ADD COLUMN part_size bigint;
