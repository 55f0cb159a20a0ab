-- Versions before this one could store JSON encoded twice (src/db/json.ts). Upkeep mends such rows with these functions, and
-- adds a CHECK of the shapes once no replica of such a version is connected: a CHECK is tested on every UPDATE of a row, so
-- a corrupted row would stop the statements that change it together with others.

-- What an object was meant to be: itself; a JSON string of it; or an array of pieces that `||` made. NULL for anything else.
CREATE FUNCTION media_mended_object(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  mended jsonb := '{}';
  piece jsonb;
BEGIN
  IF jsonb_typeof(value) = 'object' THEN
    RETURN value;
  ELSIF jsonb_typeof(value) = 'string' THEN
    mended := (value #>> '{}')::jsonb;
  ELSIF jsonb_typeof(value) = 'array' THEN
    FOR piece IN SELECT jsonb_array_elements(value) LOOP
      mended := mended || CASE jsonb_typeof(piece) WHEN 'string' THEN (piece #>> '{}')::jsonb ELSE piece END;
    END LOOP;
  END IF;
  RETURN CASE jsonb_typeof(mended) WHEN 'object' THEN mended END;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END $$;

-- The same for events owed, whose payloads are objects. NULL where one of them cannot be mended.
CREATE FUNCTION media_mended_outbox(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  mended jsonb := '[]';
  event jsonb;
  payload jsonb;
BEGIN
  IF jsonb_typeof(value) = 'string' THEN
    value := (value #>> '{}')::jsonb;
  END IF;
  IF jsonb_typeof(value) <> 'array' THEN
    RETURN NULL;
  END IF;
  FOR event IN SELECT jsonb_array_elements(value) LOOP
    payload := media_mended_object(event -> 'payload');
    IF payload IS NULL OR jsonb_typeof(event -> 'channel') IS DISTINCT FROM 'string' THEN
      RETURN NULL;
    END IF;
    mended := mended || jsonb_build_array(jsonb_set(event, '{payload}', payload));
  END LOOP;
  RETURN mended;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END $$;

-- Whether a row has the shapes that every statement expects. Without a subquery, so that it costs a CHECK no call.
CREATE FUNCTION media_has_shapes(metadata jsonb, renditions jsonb, outbox jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_typeof(metadata) = 'object' AND jsonb_typeof(renditions) = 'object' AND jsonb_typeof(outbox) = 'array'
    AND NOT coalesce(outbox @? 'strict $[*] ? (@.type() != "object" || @.payload.type() != "object")', false)
$$;

-- What could not be mended, as it was found: {"metadata": …, "renditions": …, "outbox": …}. For an operator to look at.
ALTER TABLE media_objects ADD COLUMN unmendable jsonb;

INSERT INTO media_upkeep (job) VALUES ('json shapes');
