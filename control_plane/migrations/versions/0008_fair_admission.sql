-- Who goes next: those that are due, fair between tenants (whoever has less in flight), of equals the one of higher priority, then the
-- older one. Within a tenant that is priority first, so a tenant's priorities are its own matter.
-- Of each tenant the first `depth` are looked at (NULL: all), in the order of an index: admission needs no more than it has room for.
CREATE OR REPLACE FUNCTION admission_queue(depth bigint) RETURNS TABLE (
    process_id uuid, tenant text, due boolean, not_before timestamptz, running bigint, max_in_flight integer, within_in_flight boolean,
    running_cores bigint, cores_until bigint, cores bigint, max_executor_cores integer, within_cores boolean, place bigint
) LANGUAGE sql STABLE AS $$
WITH late AS MATERIALIZED (
    SELECT a.process_id AS id, a.not_before FROM attempts a WHERE a.rank = 0 AND a.not_before > now()
), ordered AS (
    SELECT f.*, w.* FROM in_flight f CROSS JOIN LATERAL (
        SELECT p.id, p.priority, true AS due, NULL::timestamptz AS not_before, row_number() OVER own AS place_in_tenant,
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
    row_number() OVER (ORDER BY due DESC, running + place_in_tenant, priority DESC, id)
FROM summed
$$;

-- The same for one process, by counting those before it: nothing is sorted. That both agree is tested.
CREATE OR REPLACE FUNCTION queue_place(wanted uuid) RETURNS TABLE (
    process_id uuid, due boolean, not_before timestamptz, tenant_in_flight bigint, max_in_flight integer, within_in_flight boolean,
    running_cores bigint, cores bigint, max_executor_cores integer, within_cores boolean, place bigint
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
WITH mine AS MATERIALIZED (
    SELECT p.id, p.tenant, p.priority, a.not_before, a.not_before <= now() AS due, f.running, f.max_in_flight, f.running_cores, f.max_executor_cores
    FROM processes p JOIN attempts a ON a.process_id = p.id AND a.rank = 0 JOIN in_flight f ON f.tenant = p.tenant
    WHERE p.id = wanted AND p.state = 'accepted' AND may_see(p.tenant)
), late AS MATERIALIZED (
    SELECT a.process_id AS id FROM attempts a WHERE a.rank = 0 AND a.not_before > now() AND EXISTS (SELECT FROM mine)
), counted AS MATERIALIZED (  -- of each tenant: those of a better class than mine, those of its class, and those of these that a tenant has first
    SELECT p.tenant,
        count(*) FILTER (WHERE (l.id IS NULL) > m.due) AS better,
        count(*) FILTER (WHERE (l.id IS NULL) = m.due) AS same,
        count(*) FILTER (WHERE (l.id IS NULL) = m.due AND (p.priority > m.priority OR (p.priority = m.priority AND p.id < m.id))) AS ahead
    FROM mine m CROSS JOIN processes p LEFT JOIN late l ON l.id = p.id WHERE p.state = 'accepted' GROUP BY p.tenant
), own AS (
    SELECT m.*, c.better + c.ahead + 1 AS place_in_tenant,
        CASE WHEN m.max_executor_cores IS NOT NULL THEN waiting_cores(m.id) ELSE 0 END AS cores,
        CASE WHEN m.max_executor_cores IS NOT NULL THEN
            (SELECT sum(waiting_cores(p.id)) FROM processes p LEFT JOIN late l ON l.id = p.id
             WHERE p.tenant = m.tenant AND p.state = 'accepted'
               AND ((l.id IS NULL) > m.due OR ((l.id IS NULL) = m.due AND (p.priority > m.priority OR (p.priority = m.priority AND p.id <= m.id)))))
        ELSE 0 END AS cores_until
    FROM mine m JOIN counted c ON c.tenant = m.tenant
), others AS (  -- a tenant's n-th of the class stands before mine when running + place is less than mine's, or equal and it is ahead
    SELECT c.better, c.same, c.ahead, own.running + own.place_in_tenant - coalesce(f.running, 0) - c.better AS n
    FROM own CROSS JOIN counted c LEFT JOIN (
        SELECT tenant, count(*) AS running FROM processes
        WHERE state IN ('queued', 'submitted', 'running', 'sealing', 'cancelling') GROUP BY tenant
    ) f ON f.tenant = c.tenant
)
SELECT own.id, own.due, own.not_before, own.running, own.max_in_flight, own.running + own.place_in_tenant <= own.max_in_flight,
    own.running_cores, own.cores::bigint, own.max_executor_cores,
    coalesce(own.running_cores + own.cores_until <= own.max_executor_cores OR (own.running_cores = 0 AND own.place_in_tenant = 1), true),
    1 + (SELECT sum(o.better + least(o.same, greatest(o.n - 1, 0)) + (o.n >= 1 AND o.ahead >= o.n)::integer) FROM others o)::bigint
FROM own
$$;
