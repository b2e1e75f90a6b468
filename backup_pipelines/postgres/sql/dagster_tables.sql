-- Whether a database has the tables of a Dagster instance, and whether the role could make them.
SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'runs' AND relkind = 'r') AS is_used,
       COALESCE(pg_catalog.has_schema_privilege(
           pg_catalog.to_regnamespace('public')::oid, 'CREATE'), false) AS may_create
