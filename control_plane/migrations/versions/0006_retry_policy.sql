-- Of an attempt: how many before it failed, how many in a row before it found no room and since when, and since when its job waits for
-- its driver. Of a look at a cluster: the tenants whose jobs it could not see.
ALTER TABLE attempts ADD COLUMN failures smallint NOT NULL DEFAULT 0, ADD COLUMN waits smallint NOT NULL DEFAULT 0,
    ADD COLUMN waiting_since timestamptz, ADD COLUMN pending_since timestamptz,
    ADD CONSTRAINT waits_have_begun CHECK ((waits > 0) = (waiting_since IS NOT NULL));
UPDATE attempts SET failures = number - 1 WHERE number > 1;
UPDATE attempts SET pending_since = clock_timestamp() WHERE state = 'submitted';
ALTER TABLE observations ADD COLUMN unseen text[] NOT NULL DEFAULT '{}';
