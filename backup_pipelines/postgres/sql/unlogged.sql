-- Tables, and sequences that are no unlogged table's, which a standby cannot read since they are not in the log; none on a primary.
SELECT n.nspname AS schema,
       c.relname AS name,
       c.oid::bigint AS oid,
       c.relkind = 'S' AS is_sequence
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE pg_catalog.pg_is_in_recovery() AND c.relpersistence = 'u' AND c.relkind IN ('r', 'S')
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend d
         JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
          AND t.relpersistence = 'u')
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
