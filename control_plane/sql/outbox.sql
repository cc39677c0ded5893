-- name: release$
-- Release as many as there is room for, in the order of `admission_queue`, within the tenants' quotas; returns how many.
WITH room AS (
    SELECT greatest(:max_in_flight - count(*), 0) AS free FROM processes
    WHERE state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling')
), chosen AS (
    SELECT q.process_id FROM admission_queue((SELECT free FROM room)) q
    WHERE q.due AND q.within_in_flight AND q.within_cores ORDER BY q.place LIMIT (SELECT free FROM room)
), locked AS (
    SELECT id FROM processes WHERE id IN (SELECT process_id FROM chosen) AND state = 'accepted' FOR UPDATE SKIP LOCKED
), process AS (
    UPDATE processes p SET state = 'queued', reason = 'on its way to the launcher', changed_at = clock_timestamp(), last_event = last_event + 1
    FROM locked WHERE p.id = locked.id AND p.state = 'accepted' RETURNING p.id, p.tenant, p.last_event
), attempt AS (
    UPDATE attempts a SET state = 'released', rank = 10, released_at = clock_timestamp(), reason = 'on its way to the launcher',
        start_before = date_trunc('second', clock_timestamp()) + make_interval(secs => (s.limits->>'start_before_seconds')::integer)
    FROM process, steps s WHERE a.process_id = process.id AND a.rank = 0 AND s.process_id = a.process_id AND s.number = a.step
    RETURNING a.process_id, a.step, a.number, process.tenant, process.last_event
), message AS (
    UPDATE outbox o SET released_at = clock_timestamp() FROM attempt a
    WHERE o.kind = 'run' AND o.process_id = a.process_id AND o.step = a.step AND o.attempt = a.number
), event AS (
    INSERT INTO events (process_id, sequence, tenant, type, data)
    SELECT process_id, last_event, tenant, 'queued', jsonb_build_object('attempt', number) FROM attempt RETURNING 1
)
SELECT count(*) FROM event;

-- name: ready_messages
-- What is released and not yet known to be delivered, oldest first, with all that its message needs.
SELECT o.id, o.kind, o.message_id, o.tenant, o.process_id, o.step, o.attempt, a.rank, a.start_before, p.resource_profile, p.traceparent,
       s.entity_id, p.data_version, s.action, s.parameters, s.action_revision, s.image, s.entry_point, s.inputs,
       s.output_data_version, s.output_dataset, s.rejected_dataset, s.limits, t.bucket, t.prefix, clock_timestamp() AS now
FROM outbox o
JOIN attempts a ON a.process_id = o.process_id AND a.step = o.step AND a.number = o.attempt
JOIN steps s ON s.process_id = o.process_id AND s.number = o.step
JOIN processes p ON p.id = o.process_id JOIN tenants t ON t.id = o.tenant
WHERE o.released_at IS NOT NULL AND o.published_at IS NULL ORDER BY o.id LIMIT :limit;

-- name: mark_published!
WITH marked AS (
    UPDATE outbox SET published_at = clock_timestamp() WHERE id = ANY(:ids::bigint[]) RETURNING kind, process_id, step, attempt
)
UPDATE attempts a SET state = 'published', rank = 20 FROM marked m
WHERE m.kind = 'run' AND a.process_id = m.process_id AND a.step = m.step AND a.number = m.attempt AND a.rank < 20;

-- name: send_cancel!
INSERT INTO outbox (tenant, kind, process_id, step, attempt, message_id, released_at)
VALUES (:tenant, 'cancel', :process_id, :step, :attempt, :message_id, clock_timestamp())
ON CONFLICT (kind, process_id, step, attempt) DO NOTHING;

-- name: outbox_lag^
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(released_at)), 0)::float AS seconds
FROM outbox WHERE released_at IS NOT NULL AND published_at IS NULL;
