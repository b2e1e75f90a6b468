-- Who runs the server, by the roles that hosts make there, and whether a role has this name.
SELECT CASE WHEN pg_catalog.bool_or(rolname = 'rds_superuser') THEN 'rds'
            WHEN pg_catalog.bool_or(rolname = 'supabase_admin') THEN 'supabase'
            ELSE 'plain' END AS host,
       pg_catalog.bool_or(rolname = %(reader)s) AS has_reader
  FROM pg_catalog.pg_roles
