-- Of nothing there is no place, and nothing is counted.
ALTER FUNCTION queue_place(uuid) STRICT;

-- Whether more than `most` processes wait, of all tenants; looks at no more of them than that.
CREATE FUNCTION more_wait_than(most bigint) RETURNS boolean LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = public, pg_temp AS $$
SELECT count(*) > most FROM (SELECT FROM processes WHERE state = 'accepted' LIMIT most + 1) held
$$;
REVOKE ALL ON FUNCTION more_wait_than FROM PUBLIC;
GRANT EXECUTE ON FUNCTION more_wait_than TO stratum_tenant;
