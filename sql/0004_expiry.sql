-- What is known of a state in general must not decide how one row is found: with statistics of a time when nothing was
-- pending, `id = … AND status = 'pending'` was answered by reading all that has become so since. Written like this, the
-- indexes serve only those who ask for a whole state.
DROP INDEX media_objects_expiry;
CREATE INDEX media_objects_pending ON media_objects (status_changed_at) WHERE (status = 'pending') IS TRUE;
CREATE INDEX media_objects_deleted ON media_objects (status_changed_at) WHERE (status = 'deleted') IS TRUE;
DROP INDEX media_objects_purging;
CREATE INDEX media_objects_purging ON media_objects (upkeep_due_at) WHERE upkeep_due_at IS NOT NULL;
