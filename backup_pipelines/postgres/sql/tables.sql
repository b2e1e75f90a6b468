-- Every ordinary and partitioned table that is not PostgreSQL's own, with what decides whether
-- and how it can be read.
SELECT c.oid::bigint AS oid,
       n.nspname AS schema,
       c.relname AS name,
       c.relkind::text AS kind,
       CASE WHEN c.relispartition THEN (
           SELECT rn.nspname || '.' || rc.relname
             FROM pg_catalog.pg_class rc
             JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
            WHERE rc.oid = pg_catalog.pg_partition_root(c.oid)
       ) END AS partition_of,
       ARRAY(
           SELECT pn.nspname || '.' || pc.relname
             FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent
             JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
            WHERE i.inhrelid = c.oid AND NOT c.relispartition
            ORDER BY i.inhseqno
       ) AS inherits,
       c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS force_row_security,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_use_schema,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AS may_select,
       CASE WHEN pg_catalog.has_table_privilege(c.oid, 'SELECT')
            THEN pg_catalog.row_security_active(c.oid) ELSE false END AS rows_hidden,
       CASE WHEN c.relkind = 'r'
            THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END AS heap_bytes,
       CASE WHEN c.relkind = 'r'
            THEN pg_catalog.pg_table_size(c.oid) ELSE 0 END AS table_bytes,
       c.reltuples::bigint AS estimated_rows
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
