-- Populated materialized views, each after those it reads from (also through ordinary views).
WITH RECURSIVE edges AS (
    SELECT DISTINCT r.ev_class AS view_oid, d.refobjid AS reads_oid
      FROM pg_catalog.pg_rewrite r
      JOIN pg_catalog.pg_depend d
        ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
       AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
      JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
), reach (view_oid, reads_oid) AS (
    SELECT view_oid, reads_oid FROM edges
    UNION
    SELECT reach.view_oid, edges.reads_oid FROM reach JOIN edges ON edges.view_oid = reach.reads_oid
)
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND c.relispopulated
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY (SELECT count(*) FROM reach
             JOIN pg_catalog.pg_class m ON m.oid = reach.reads_oid AND m.relkind = 'm'
            WHERE reach.view_oid = c.oid),
          n.nspname COLLATE "C", c.relname COLLATE "C"
