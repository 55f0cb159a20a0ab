-- One row is one media object, its life, and the events it still owes (its own outbox).
CREATE TABLE media_objects (
  -- UUID version 7: made by the service before any byte is stored, and the beginning of the storage key.
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL,
  original_name varchar(255) NOT NULL,
  mime_type varchar(127) NOT NULL,
  -- NULL only while pending, when the size was not declared.
  size_bytes bigint CHECK (size_bytes >= 0),
  -- Byte order, so that the unique index can be merged with a listing of the store.
  storage_key varchar(255) COLLATE "C" NOT NULL UNIQUE,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  status varchar(16) NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'active', 'deleted', 'purging')),

  visibility varchar(16) NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'public')),
  status_changed_at timestamptz NOT NULL DEFAULT now(),
  -- The last moment at which any writer can still put bytes under this object's prefix.
  links_until timestamptz NOT NULL,

  -- Events owed, oldest first: [{"channel": …, "payload": {"eventId": …, "seq": …, …}}]
  outbox jsonb NOT NULL DEFAULT '[]',
  event_seq integer NOT NULL DEFAULT 0,
  -- From when on the relay may send what is owed; NULL when nothing is.
  outbox_due_at timestamptz,

  -- From when on upkeep may take a purging row up: at once for its bytes, after links_until for itself.
  upkeep_due_at timestamptz,

  -- From when on upkeep looks for bytes under the object's prefixes that are not, or not any more, the object's:
  -- set before bytes go under a second key, and when a link may bring some late.
  sweep_due_at timestamptz,

  idempotency_key varchar(255),
  -- SHA-256 of the request that the key came with, in hexadecimal.
  idempotency_hash char(64),
  -- The store's id of a multipart upload under way.
  upload_id text,

  -- A tus upload: its Upload-Metadata as it was sent, and the store's id of it. NULL for every other.
  tus_metadata text,
  tus_upload_id text,
  -- Who writes to the tus upload, until when that holds unless renewed, and whether someone waits for it to end.
  upload_lease uuid,
  upload_lease_until timestamptz,
  upload_lease_wanted boolean NOT NULL DEFAULT false,

  CHECK (status IN ('pending', 'purging') OR size_bytes IS NOT NULL),
  CHECK ((upkeep_due_at IS NULL) = (status <> 'purging')),
  CHECK ((outbox_due_at IS NULL) = (outbox = '[]'))
);

-- A person's list and bin: keyset pages on id, newest first.
CREATE INDEX media_objects_owner ON media_objects (user_id, status, id);
-- Upkeep: what may have expired, by the time it came into its state; and what is to be removed.
CREATE INDEX media_objects_expiry ON media_objects (status, status_changed_at) WHERE status IN ('pending', 'deleted');
CREATE INDEX media_objects_sweep ON media_objects (sweep_due_at) WHERE sweep_due_at IS NOT NULL;
CREATE INDEX media_objects_purging ON media_objects (upkeep_due_at) WHERE status = 'purging';
-- The relay: what is owed, by the time it may be sent.
CREATE INDEX media_objects_owed ON media_objects (outbox_due_at) WHERE outbox_due_at IS NOT NULL;
-- One object for one key of one owner; an attempt that failed does not block the next.
CREATE UNIQUE INDEX media_objects_idempotency ON media_objects (user_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL AND status <> 'purging';

-- How far upkeep has compared the store's listing with the table, and until when one replica has that to itself.
CREATE TABLE media_upkeep (
  job varchar(32) PRIMARY KEY,
  position varchar(255) COLLATE "C" NOT NULL DEFAULT '',
  taken_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO media_upkeep (job) VALUES ('orphans in media/'), ('orphans in public/');
