-- Run as a superuser in the new, empty database, before anything else.
-- Roles belong to the cluster, so several databases (and several runs at once) share them:
-- losing the race to create one is as good as having created it.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role_name);
        BEGIN
            -- As on Supabase, the service key sees every row.
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name)
                || CASE role_name WHEN 'service_role' THEN ' BYPASSRLS' ELSE '' END;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

CREATE SCHEMA IF NOT EXISTS auth AUTHORIZATION dcim_owner;
