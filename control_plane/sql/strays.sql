-- Jobs that no attempt of this database knows.

-- name: note_strays
-- Those of a complete list. What the list no longer has, and what is known by now, is forgotten; what it still has ten minutes after the
-- launcher was told to end it is to be told again.
WITH live AS (
    SELECT DISTINCT l.* FROM unnest(:tenants::text[], :process_ids::uuid[], :steps::integer[], :attempts::integer[])
        AS l (tenant, process_id, step, attempt)
), stray AS (
    SELECT * FROM live l
    WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.process_id = l.process_id AND a.step = l.step AND a.number = l.attempt)
), forgotten AS (
    DELETE FROM stray_jobs s WHERE s.cluster = :cluster AND s.seen_at < :began_at::timestamptz AND s.tenant <> ALL (:unseen::text[])
      AND NOT EXISTS (SELECT FROM stray WHERE (stray.tenant, stray.process_id, stray.step, stray.attempt)
          = (s.tenant, s.process_id, s.step, s.attempt))
)
INSERT INTO stray_jobs AS s (cluster, tenant, process_id, step, attempt, seen_at)
SELECT :cluster::text, tenant, process_id, step, attempt, :began_at::timestamptz FROM stray
ON CONFLICT (cluster, tenant, process_id, step, attempt) DO UPDATE SET seen_at = greatest(s.seen_at, excluded.seen_at),
    published_at = CASE WHEN s.published_at >= excluded.seen_at - interval '10 minutes' THEN s.published_at END
RETURNING tenant, process_id, step, attempt, xmax = 0 AS is_new;

-- name: list_strays
-- `goes_on`: its process is known and may yet come to that attempt.
SELECT s.id, s.cluster, s.tenant, s.process_id, s.step, s.attempt, s.end_asked_at IS NOT NULL AS is_told,
    s.first_seen_at + make_interval(secs => :grace_seconds) < clock_timestamp() AS due,
    EXISTS (SELECT FROM processes p WHERE p.id = s.process_id AND p.ended_at IS NULL) AS goes_on
FROM stray_jobs s
WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.process_id = s.process_id AND a.step = s.step AND a.number = s.attempt)
ORDER BY s.id;

-- name: ask_stray_end$
UPDATE stray_jobs SET end_asked_at = clock_timestamp() WHERE id = :id AND end_asked_at IS NULL RETURNING id;

-- name: stray_cancels
-- What the launcher is to be told, with all that its message needs. What became known meanwhile is not stray.
SELECT s.id, 'cancel' AS kind, s.message_id, s.tenant, s.process_id, s.step, s.attempt, NULL AS traceparent, clock_timestamp() AS now
FROM stray_jobs s
WHERE s.end_asked_at IS NOT NULL AND s.published_at IS NULL
  AND NOT EXISTS (SELECT FROM attempts a WHERE a.process_id = s.process_id AND a.step = s.step AND a.number = s.attempt)
  AND NOT EXISTS (SELECT FROM processes p WHERE p.id = s.process_id AND p.ended_at IS NULL)
ORDER BY s.id LIMIT :limit;

-- name: mark_strays_told!
UPDATE stray_jobs SET published_at = clock_timestamp() WHERE id = ANY(:ids::bigint[]);

-- name: count_strays$
SELECT count(*) FROM stray_jobs;
