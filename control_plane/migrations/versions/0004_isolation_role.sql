-- The role that requests of a tenant run as. Roles belong to the whole server: another database, or a migration at the same moment,
-- may make it too.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stratum_tenant') THEN
        BEGIN
            CREATE ROLE stratum_tenant NOLOGIN NOBYPASSRLS;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION USING MESSAGE = format('%I may not create roles: let an administrator of the server run'
                    ' `CREATE ROLE stratum_tenant NOLOGIN; GRANT stratum_tenant TO %I;` and migrate again', current_user, current_user);
        END;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'stratum_tenant' AND (rolcanlogin OR rolbypassrls OR rolsuper)) THEN
        RAISE EXCEPTION 'the role stratum_tenant may log in or pass row-level security: let an administrator of the server run'
            ' `ALTER ROLE stratum_tenant NOLOGIN NOBYPASSRLS NOSUPERUSER;` and migrate again';
    END IF;
    -- since PostgreSQL 16 being a member is not enough to become the role
    IF NOT pg_has_role(current_user, 'stratum_tenant', CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        BEGIN
            GRANT stratum_tenant TO CURRENT_USER;
        EXCEPTION
            WHEN unique_violation THEN NULL;  -- granted by a migration at the same moment
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION USING MESSAGE = format('%I may not become the role stratum_tenant: let an administrator of the server run'
                    ' `GRANT stratum_tenant TO %I;` and migrate again', current_user, current_user);
        END;
    END IF;
END $$;
