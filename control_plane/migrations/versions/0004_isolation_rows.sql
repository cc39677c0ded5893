-- The second wall: as `stratum_tenant`, only rows of the tenant that the transaction has entered exist. The owner of the tables, who
-- relays, reconciles and migrates, is not held by it.

-- For every table with a column `tenant`, here and in later migrations: its rows are the tenant's alone, and what may be done with them.
-- A policy for all roles and not for one: it then restores before the role is there, and holds whoever else is granted the table.
CREATE FUNCTION confine(confined regclass, privileges text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', confined);
    EXECUTE format('CREATE POLICY of_the_tenant ON %s USING (tenant = current_setting(''stratum.tenant'', true))', confined);
    IF privileges <> '' THEN
        EXECUTE format('GRANT %s ON %s TO stratum_tenant', privileges, confined);
    END IF;
END $$;
REVOKE ALL ON FUNCTION confine FROM PUBLIC;

SELECT confine('api_keys', '');  -- credentials are looked up before the tenant is known, by the owner
SELECT confine('processes', 'SELECT, INSERT, UPDATE');
SELECT confine('steps', 'SELECT, INSERT');
SELECT confine('attempts', 'SELECT, INSERT, UPDATE');
SELECT confine('uploads', 'SELECT, INSERT, UPDATE');
SELECT confine('claims', 'SELECT, INSERT, DELETE');
SELECT confine('datasets', 'SELECT, INSERT');
SELECT confine('events', 'SELECT, INSERT');
SELECT confine('outbox', 'SELECT, INSERT');
SELECT confine('idempotency_keys', 'SELECT, INSERT');
SELECT confine('refused_callbacks', 'SELECT, INSERT');

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON tenants USING (id = current_setting('stratum.tenant', true));
GRANT SELECT ON tenants TO stratum_tenant;

-- Whether the one who asks may see rows of `owner`. For functions that look further than their caller: inside them the user is the
-- owner of the tables, but the setting `role` is still that of the caller.
CREATE FUNCTION may_see(owner text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_setting('role') <> 'stratum_tenant' OR owner = current_setting('stratum.tenant', true)
$$;
