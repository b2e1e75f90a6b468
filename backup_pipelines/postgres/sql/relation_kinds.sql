-- What each of these relations is now, whose it is, whether this role may act for its owner, and read it; `names` are arrays of schema and name.
SELECT n.nspname AS schema,
       c.relname AS name,
       c.oid::bigint AS oid,
       c.relkind::text AS kind,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_ours,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
           AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_read
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN unnest(%(schemas)s::text[], %(names)s::text[]) AS w (schema, name)
    ON w.schema = n.nspname AND w.name = c.relname
