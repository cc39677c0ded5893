-- Rows that have served their time. Of each kind: how many there are, and their removal in pieces.

-- name: old_idempotency_keys^
SELECT count(*) AS number, coalesce(sum(pg_column_size(k)), 0)::bigint AS bytes FROM idempotency_keys k
WHERE created_at + make_interval(secs => :seconds) < clock_timestamp();

-- name: remove_idempotency_keys^
WITH gone AS (DELETE FROM idempotency_keys k WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotency_keys
    WHERE created_at + make_interval(secs => :seconds) < clock_timestamp() LIMIT :limit)) RETURNING pg_column_size(k) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: old_messages^
-- A message tells a second sender that the first was there: it stays while its process goes on. One that its process did not live to see
-- released is published by nobody; one that was released may yet be.
SELECT count(*) AS number, coalesce(sum(pg_column_size(o)), 0)::bigint AS bytes FROM outbox o JOIN processes p ON p.id = o.process_id
WHERE (o.published_at + make_interval(secs => :seconds) < clock_timestamp() OR o.released_at IS NULL)
  AND p.ended_at + make_interval(secs => :seconds) < clock_timestamp();

-- name: remove_messages^
WITH gone AS (DELETE FROM outbox o WHERE id = ANY(ARRAY(SELECT m.id FROM outbox m JOIN processes p ON p.id = m.process_id
    WHERE (m.published_at + make_interval(secs => :seconds) < clock_timestamp() OR m.released_at IS NULL)
      AND p.ended_at + make_interval(secs => :seconds) < clock_timestamp() LIMIT :limit)) RETURNING pg_column_size(o) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: old_events^
SELECT count(*) AS number, coalesce(sum(pg_column_size(e)), 0)::bigint AS bytes FROM events e JOIN processes p ON p.id = e.process_id
WHERE p.ended_at + make_interval(secs => :seconds) < now();

-- name: remove_events^
-- Whole processes at a time, so that a history is there without gaps or not at all.
WITH ended AS (
    SELECT p.id FROM processes p WHERE p.ended_at + make_interval(secs => :seconds) < now()
      AND EXISTS (SELECT FROM events e WHERE e.process_id = p.id) LIMIT :limit
), gone AS (DELETE FROM events e USING ended WHERE e.process_id = ended.id RETURNING pg_column_size(e) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: old_refused_callbacks^
SELECT count(*) AS number, coalesce(sum(pg_column_size(r)), 0)::bigint AS bytes
FROM refused_callbacks r JOIN processes p ON p.id = r.process_id WHERE p.ended_at + make_interval(secs => :seconds) < now();

-- name: remove_refused_callbacks^
WITH gone AS (DELETE FROM refused_callbacks r WHERE id = ANY(ARRAY(SELECT c.id FROM refused_callbacks c
    JOIN processes p ON p.id = c.process_id WHERE p.ended_at + make_interval(secs => :seconds) < now() LIMIT :limit))
    RETURNING pg_column_size(r) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: old_deliveries^
SELECT count(*) AS number, coalesce(sum(pg_column_size(d)), 0)::bigint AS bytes FROM webhook_deliveries d
WHERE ended_at + make_interval(secs => :seconds) < clock_timestamp();

-- name: remove_deliveries^
-- The age is judged again where the row is locked: whoever asked to have it sent again meanwhile is not to be disappointed.
WITH gone AS (DELETE FROM webhook_deliveries d WHERE id = ANY(ARRAY(SELECT id FROM webhook_deliveries
        WHERE ended_at + make_interval(secs => :seconds) < clock_timestamp() LIMIT :limit))
    AND ended_at + make_interval(secs => :seconds) < clock_timestamp() RETURNING pg_column_size(d) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: old_sweeps^
SELECT count(*) AS number, coalesce(sum(pg_column_size(s)), 0)::bigint AS bytes FROM sweeps s
WHERE began_at + make_interval(secs => :seconds) < clock_timestamp();

-- name: remove_sweeps^
WITH gone AS (DELETE FROM sweeps s WHERE id = ANY(ARRAY(SELECT id FROM sweeps
    WHERE began_at + make_interval(secs => :seconds) < clock_timestamp() LIMIT :limit)) RETURNING pg_column_size(s) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: old_marks^
-- Not those of a run that may still be sealed: half of its folder may be gone.
SELECT count(*) AS number, coalesce(sum(pg_column_size(f)), 0)::bigint AS bytes FROM swept_folders f
WHERE lease_until + make_interval(secs => :seconds) < clock_timestamp()
  AND NOT EXISTS (SELECT FROM attempts a WHERE a.tenant = f.tenant AND a.run_id = f.run_id AND a.rank < 60);

-- name: remove_marks^
WITH gone AS (DELETE FROM swept_folders f WHERE ctid = ANY(ARRAY(SELECT m.ctid FROM swept_folders m
    WHERE m.lease_until + make_interval(secs => :seconds) < clock_timestamp()
      AND NOT EXISTS (SELECT FROM attempts a WHERE a.tenant = m.tenant AND a.run_id = m.run_id AND a.rank < 60) LIMIT :limit))
    RETURNING pg_column_size(f) AS bytes)
SELECT count(*) AS number, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone;

-- name: open_retention!
-- Lets this transaction, and no other, remove audit rows of processes that ended so long ago: see the trigger `refuse_but_retention`.
SELECT set_config('stratum.retention_before', (now() - make_interval(secs => :seconds))::text, true);
