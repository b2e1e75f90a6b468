-- Of each of these schemas whether it exists, and whether this role may create tables in it.
SELECT w.schema,
       n.oid IS NOT NULL AS is_there,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false)
           AND coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS may_create,
       current_user::text AS role
  FROM unnest(%(schemas)s::text[]) AS w (schema)
  LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
 ORDER BY w.schema
