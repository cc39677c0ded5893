-- name: owe_webhook!
-- The delivery of a final state; nothing for a process without a callback URL.
INSERT INTO webhook_deliveries (id, tenant, process_id, type, url, host)
SELECT :id, tenant, id, 'process.' || state, callback_url,
       coalesce(lower(substring(callback_url FROM '^[A-Za-z]+://(\[[^\]]*\]|[^/:?#]*)')), '')
FROM processes WHERE id = :process_id AND callback_url IS NOT NULL;

-- name: take_webhooks
-- Lease what is due: no more than `room`, and with what is on its way elsewhere no more than `per_host` and `per_tenant`, so that one slow
-- host or one tenant's many cannot stall the others. Hosts with something due are found by one walk through the index, which skips the rest
-- of each: its time is a subquery's, which is asked for once and so is the index's to compare with. Database time decides.
WITH RECURSIVE hosts AS (
    (SELECT host FROM webhook_deliveries WHERE state = 'waiting' AND due_at <= (SELECT clock_timestamp()) ORDER BY host LIMIT 1)
    UNION ALL
    SELECT (SELECT d.host FROM webhook_deliveries d
        WHERE d.state = 'waiting' AND d.host > hosts.host AND d.due_at <= (SELECT clock_timestamp()) ORDER BY d.host LIMIT 1)
    FROM hosts WHERE hosts.host IS NOT NULL
), leased AS (
    SELECT tenant, host, count(*) AS count FROM webhook_deliveries WHERE leased_until > clock_timestamp() GROUP BY tenant, host
), candidates AS (
    SELECT due.id, due.due_at, due.tenant, row_number() OVER (PARTITION BY due.tenant ORDER BY due.due_at, due.id) AS turn
    FROM hosts CROSS JOIN LATERAL (
        SELECT d.id, d.due_at, d.tenant FROM webhook_deliveries d
        WHERE d.state = 'waiting' AND d.host = hosts.host AND d.due_at <= clock_timestamp() ORDER BY d.due_at
        LIMIT greatest(:per_host - (SELECT coalesce(sum(l.count), 0)::integer FROM leased l WHERE l.host = hosts.host), 0)
    ) due
), chosen AS (
    SELECT c.id FROM candidates c
    WHERE c.turn <= :per_tenant::bigint - (SELECT coalesce(sum(l.count), 0) FROM leased l WHERE l.tenant = c.tenant)
    ORDER BY c.turn, c.due_at LIMIT :room
), locked AS (
    SELECT id FROM webhook_deliveries
    WHERE id IN (SELECT id FROM chosen) AND state = 'waiting' AND due_at <= clock_timestamp() FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries d SET attempts = d.attempts + 1, last_attempt_at = clock_timestamp(),
    tried_since = coalesce(d.tried_since, clock_timestamp()), due_at = clock_timestamp() + make_interval(secs => :lease_seconds),
    leased_until = clock_timestamp() + make_interval(secs => :lease_seconds)
FROM locked WHERE d.id = locked.id
RETURNING d.id, d.tenant, d.process_id, d.type, d.url, d.attempts,
    extract(epoch FROM clock_timestamp() - d.tried_since)::float AS tried_seconds;

-- name: end_webhook$
-- Delivered or given up, with its entry in the process's history. No row: the lease was lost to another, or the delivery is over.
WITH ended AS (
    UPDATE webhook_deliveries
    SET state = :state, last_status = :status, last_error = :error, leased_until = NULL, ended_at = clock_timestamp()
    WHERE id = :id AND state = 'waiting' AND attempts = :attempt RETURNING process_id, host, attempts
), process AS (
    UPDATE processes p SET last_event = p.last_event + 1 FROM ended WHERE p.id = ended.process_id
    RETURNING p.id, p.last_event, p.tenant, ended.host, ended.attempts
)
INSERT INTO events (process_id, sequence, tenant, type, data)
SELECT id, last_event, tenant, 'webhook_' || :state, jsonb_strip_nulls(
    jsonb_build_object('delivery', :id::uuid, 'host', host, 'attempts', attempts, 'status', :status::integer, 'reason', :error::text))
FROM process RETURNING sequence;

-- name: delay_webhook$
-- Tried in vain; to be tried again.
UPDATE webhook_deliveries SET last_status = :status, last_error = :error, leased_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => :delay_seconds)
WHERE id = :id AND state = 'waiting' AND attempts = :attempt RETURNING attempts;

-- name: replay_webhook^
-- Due at once, with the whole time for tries before it again. One that is on its way right now is left alone.
UPDATE webhook_deliveries SET state = 'waiting', ended_at = NULL,
    tried_since = CASE WHEN leased_until > clock_timestamp() THEN tried_since END,
    due_at = CASE WHEN leased_until > clock_timestamp() THEN due_at ELSE clock_timestamp() END
WHERE tenant = :tenant AND id = :id RETURNING *;

-- name: get_webhook^
SELECT * FROM webhook_deliveries WHERE tenant = :tenant AND id = :id;

-- name: list_webhooks
SELECT * FROM webhook_deliveries
WHERE tenant = :tenant AND (:state::text IS NULL OR state = :state) AND (:process_id::uuid IS NULL OR process_id = :process_id)
  AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit;

-- name: webhook_backlog^
SELECT count(*) AS waiting, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float AS seconds
FROM webhook_deliveries WHERE state = 'waiting';

-- name: make_webhook_secret!
-- The first secret of a tenant; nothing where there is one.
INSERT INTO webhook_secrets (id, tenant, secret) VALUES (:id, :tenant, :secret) ON CONFLICT (tenant) WHERE retires_at IS NULL DO NOTHING;

-- name: webhook_secrets
-- Those that sign, newest first.
SELECT secret, created_at, retires_at FROM webhook_secrets
WHERE tenant = :tenant AND (retires_at IS NULL OR retires_at > clock_timestamp()) ORDER BY retires_at DESC NULLS FIRST, id DESC;

-- name: lock_webhook_secret$
SELECT id FROM webhook_secrets WHERE tenant = :tenant AND retires_at IS NULL FOR UPDATE;

-- name: retire_webhook_secret!
UPDATE webhook_secrets SET retires_at = clock_timestamp() + make_interval(secs => :keep_seconds) WHERE id = :id;

-- name: forget_webhook_secrets!
-- Only the one that was replaced last may still sign beside the newest.
DELETE FROM webhook_secrets WHERE tenant = :tenant AND retires_at IS NOT NULL;
