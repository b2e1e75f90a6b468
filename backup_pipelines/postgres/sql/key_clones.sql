-- The clones that a foreign key has on and for partitions, whose names are their own.
WITH RECURSIVE clone (root_oid, oid) AS (
    SELECT c.oid, k.oid
      FROM pg_catalog.pg_constraint c
      JOIN pg_catalog.pg_constraint k ON k.conparentid = c.oid
     WHERE c.contype = 'f' AND c.conparentid = 0
    UNION ALL
    SELECT clone.root_oid, k.oid
      FROM clone
      JOIN pg_catalog.pg_constraint k ON k.conparentid = clone.oid
)
SELECT r.conrelid::bigint AS root_table_oid,
       r.conname AS root_name,
       c.conrelid::bigint AS table_oid,
       c.confrelid::bigint AS references_oid,
       n.nspname AS table_schema,
       t.relname AS table_name,
       c.conname AS name,
       pg_catalog.obj_description(c.oid, 'pg_constraint') AS comment
  FROM clone
  JOIN pg_catalog.pg_constraint r ON r.oid = clone.root_oid
  JOIN pg_catalog.pg_constraint c ON c.oid = clone.oid
  JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE r.conrelid = ANY (%(oids)s)
 ORDER BY 1, 2, 3, 4
