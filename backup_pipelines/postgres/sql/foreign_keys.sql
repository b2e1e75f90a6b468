-- Every foreign key between tables of the database; clones on partitions belong to their parent.
SELECT c.conname AS name,
       tn.nspname || '.' || t.relname AS "table",
       ARRAY(SELECT a.attname FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.conrelid AND a.attnum = k.attnum
              ORDER BY k.position) AS columns,
       fn.nspname || '.' || f.relname AS "references",
       ARRAY(SELECT a.attname FROM unnest(c.confkey) WITH ORDINALITY AS k (attnum, position)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.confrelid AND a.attnum = k.attnum
              ORDER BY k.position) AS referenced_columns,
       pg_catalog.pg_get_constraintdef(c.oid) AS definition,
       c.condeferrable AS deferrable,
       c.convalidated AS validated,
       c.confdeltype::text AS on_delete
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_catalog.pg_class f ON f.oid = c.confrelid
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
 WHERE c.contype = 'f' AND c.conparentid = 0
 ORDER BY 2, 1
