DROP VIEW process_view;
DROP VIEW admission_queue;
CREATE INDEX attempts_waiting ON attempts (not_before) WHERE rank = 0;

-- What of each tenant is in flight. Cores are summed only where they are limited.
CREATE VIEW in_flight WITH (security_invoker = true) AS
SELECT t.id AS tenant, t.max_in_flight, t.max_executor_cores, coalesce(p.running, 0) AS running,
    CASE WHEN t.max_executor_cores IS NOT NULL THEN
        (SELECT coalesce(sum(s.executor_cores), 0) FROM processes f
         JOIN LATERAL (SELECT a.step FROM attempts a WHERE a.process_id = f.id ORDER BY a.step DESC, a.number DESC LIMIT 1) a ON true
         JOIN steps s ON s.process_id = f.id AND s.number = a.step
         WHERE f.tenant = t.id AND f.state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling'))
    ELSE 0 END AS running_cores
FROM tenants t LEFT JOIN (
    SELECT tenant, count(*) AS running FROM processes
    WHERE state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling') GROUP BY tenant
) p ON p.tenant = t.id;

-- Executor cores of the step that a waiting process is at.
CREATE FUNCTION waiting_cores(waiting uuid) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT s.executor_cores FROM attempts a JOIN steps s ON s.process_id = a.process_id AND s.number = a.step
    WHERE a.process_id = waiting AND a.rank < 60
$$;

-- Who goes next: those that are due, priority first, then fair between tenants (whoever has less in flight), then the older one.
-- Of each tenant the first `depth` are looked at (NULL: all), in the order of an index: admission needs no more than it has room for.
CREATE FUNCTION admission_queue(depth bigint) RETURNS TABLE (
    process_id uuid, tenant text, due boolean, not_before timestamptz, running bigint, max_in_flight integer, within_in_flight boolean,
    running_cores bigint, cores_until bigint, cores bigint, max_executor_cores integer, within_cores boolean, place bigint
) LANGUAGE sql STABLE AS $$
WITH late AS MATERIALIZED (
    SELECT a.process_id AS id, a.not_before FROM attempts a WHERE a.rank = 0 AND a.not_before > now()
), ordered AS (
    SELECT f.*, w.* FROM in_flight f CROSS JOIN LATERAL (
        SELECT p.id, p.priority, true AS due, NULL::timestamptz AS not_before, row_number() OVER own AS place_in_tenant,
            row_number() OVER own - rank() OVER (ORDER BY p.priority DESC) + 1 AS turn,
            CASE WHEN f.max_executor_cores IS NOT NULL THEN waiting_cores(p.id) ELSE 0 END AS cores
        FROM processes p WHERE p.tenant = f.tenant AND p.state = 'accepted' AND p.id NOT IN (SELECT id FROM late)
        WINDOW own AS (ORDER BY p.priority DESC, p.id ROWS UNBOUNDED PRECEDING)
        ORDER BY p.priority DESC, p.id LIMIT depth
    ) w
    UNION ALL
    -- those that are not due yet stand behind all others
    SELECT f.*, p.id, p.priority, false, l.not_before,
        (SELECT count(*) FROM processes d WHERE d.tenant = p.tenant AND d.state = 'accepted' AND d.id NOT IN (SELECT id FROM late))
            + row_number() OVER (PARTITION BY p.tenant ORDER BY p.priority DESC, p.id),
        row_number() OVER (PARTITION BY p.tenant, p.priority ORDER BY p.id),
        CASE WHEN f.max_executor_cores IS NOT NULL THEN waiting_cores(p.id) ELSE 0 END
    FROM late l JOIN processes p ON p.id = l.id AND p.state = 'accepted' JOIN in_flight f ON f.tenant = p.tenant
    WHERE depth IS NULL
), summed AS (
    SELECT o.*, sum(o.cores) OVER (PARTITION BY o.tenant ORDER BY o.place_in_tenant) AS cores_until FROM ordered o
)
SELECT id, tenant, due, not_before, running, max_in_flight, running + place_in_tenant <= max_in_flight,
    running_cores, cores_until, cores::bigint, max_executor_cores,
    -- what is larger than the whole quota, which was lowered since, runs alone: it would wait for ever, and all behind it
    coalesce(running_cores + cores_until <= max_executor_cores OR (running_cores = 0 AND place_in_tenant = 1), true),
    row_number() OVER (ORDER BY due DESC, priority DESC, running + turn, id)
FROM summed
$$;
REVOKE ALL ON FUNCTION admission_queue FROM PUBLIC;

-- The places of some waiting processes, of those that the caller may see. The order is that of all tenants; their rows stay inside.
CREATE FUNCTION queue_places(wanted uuid[]) RETURNS TABLE (
    process_id uuid, due boolean, not_before timestamptz, tenant_in_flight bigint, max_in_flight integer, within_in_flight boolean,
    running_cores bigint, cores bigint, max_executor_cores integer, within_cores boolean, place bigint
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT q.process_id, q.due, q.not_before, q.running, q.max_in_flight, q.within_in_flight, q.running_cores, q.cores, q.max_executor_cores,
        q.within_cores, q.place
    FROM admission_queue(NULL) q WHERE cardinality(wanted) > 0 AND q.process_id = ANY(wanted) AND may_see(q.tenant)
$$;
REVOKE ALL ON FUNCTION queue_places FROM PUBLIC;
GRANT EXECUTE ON FUNCTION queue_places TO stratum_tenant;

-- The same for one process, by counting those before it: nothing is sorted. That both agree is tested.
CREATE FUNCTION queue_place(wanted uuid) RETURNS TABLE (
    process_id uuid, due boolean, not_before timestamptz, tenant_in_flight bigint, max_in_flight integer, within_in_flight boolean,
    running_cores bigint, cores bigint, max_executor_cores integer, within_cores boolean, place bigint
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
WITH mine AS MATERIALIZED (
    SELECT p.id, p.tenant, p.priority, a.not_before, a.not_before <= now() AS due, f.running, f.max_in_flight, f.running_cores, f.max_executor_cores
    FROM processes p JOIN attempts a ON a.process_id = p.id AND a.rank = 0 JOIN in_flight f ON f.tenant = p.tenant
    WHERE p.id = wanted AND p.state = 'accepted' AND may_see(p.tenant)
), late AS MATERIALIZED (
    SELECT a.process_id AS id FROM attempts a WHERE a.rank = 0 AND a.not_before > now() AND EXISTS (SELECT FROM mine)
), counted AS MATERIALIZED (  -- of each tenant: those of a better class than mine, those of its class, and the older ones of these
    SELECT p.tenant,
        count(*) FILTER (WHERE (l.id IS NULL) > m.due OR ((l.id IS NULL) = m.due AND p.priority > m.priority)) AS better,
        count(*) FILTER (WHERE (l.id IS NULL) = m.due AND p.priority = m.priority) AS same,
        count(*) FILTER (WHERE (l.id IS NULL) = m.due AND p.priority = m.priority AND p.id < m.id) AS older
    FROM mine m CROSS JOIN processes p LEFT JOIN late l ON l.id = p.id WHERE p.state = 'accepted' GROUP BY p.tenant
), own AS (
    SELECT m.*, c.better + c.older + 1 AS place_in_tenant, c.older + 1 AS turn,
        CASE WHEN m.max_executor_cores IS NOT NULL THEN waiting_cores(m.id) ELSE 0 END AS cores,
        CASE WHEN m.max_executor_cores IS NOT NULL THEN
            (SELECT sum(waiting_cores(p.id)) FROM processes p LEFT JOIN late l ON l.id = p.id
             WHERE p.tenant = m.tenant AND p.state = 'accepted'
               AND ((l.id IS NULL) > m.due OR ((l.id IS NULL) = m.due AND (p.priority > m.priority OR (p.priority = m.priority AND p.id <= m.id)))))
        ELSE 0 END AS cores_until
    FROM mine m JOIN counted c ON c.tenant = m.tenant
), others AS (  -- a tenant's n-th of the class stands before mine when running + n is less than mine's, or equal and it is older
    SELECT c.better, c.same, c.older, own.running + own.turn - coalesce(f.running, 0) AS n
    FROM own CROSS JOIN counted c LEFT JOIN (
        SELECT tenant, count(*) AS running FROM processes
        WHERE state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling') GROUP BY tenant
    ) f ON f.tenant = c.tenant
)
SELECT own.id, own.due, own.not_before, own.running, own.max_in_flight, own.running + own.place_in_tenant <= own.max_in_flight,
    own.running_cores, own.cores::bigint, own.max_executor_cores,
    coalesce(own.running_cores + own.cores_until <= own.max_executor_cores OR (own.running_cores = 0 AND own.place_in_tenant = 1), true),
    1 + (SELECT sum(o.better + least(o.same, greatest(o.n - 1, 0)) + (o.n >= 1 AND o.older >= o.n)::integer) FROM others o)::bigint
FROM own
$$;
REVOKE ALL ON FUNCTION queue_place FROM PUBLIC;
GRANT EXECUTE ON FUNCTION queue_place TO stratum_tenant;

-- A process as the API shows it; its place in the queue comes from the functions above.
CREATE VIEW process_view WITH (security_invoker = true) AS
SELECT p.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('number', a.number, 'state', a.state, 'reason', a.reason, 'run_id', a.run_id,
         'error_class', a.error_class, 'started_at', a.started_at, 'ended_at', a.ended_at, 'progress', a.progress, 'resource_profile', a.resource_profile)
         ORDER BY a.step, a.number), '[]') FROM attempts a WHERE a.process_id = p.id) AS attempts,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('dataset', d.dataset, 'data_version', d.data_version, 'location', d.location,
         'manifest', 's3://' || t.bucket || '/' || d.manifest_key, 'rows', d.rows, 'bytes', d.bytes,
         'content_fingerprint', d.content_fingerprint) ORDER BY d.dataset <> p.output_dataset, d.dataset), '[]')
       FROM datasets d JOIN tenants t ON t.id = d.tenant WHERE d.process_id = p.id) AS artifacts
FROM processes p;
GRANT SELECT ON process_view, in_flight TO stratum_tenant;
