-- Every foreign key with what is needed to take it away and put it back.
SELECT c.conname AS name,
       c.conrelid::bigint AS table_oid,
       tn.nspname AS table_schema,
       t.relname AS table_name,
       c.confrelid::bigint AS references_oid,
       fn.nspname AS references_schema,
       f.relname AS references_name,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.conrelid AND a.attnum = k.attnum
              ORDER BY k.position) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k (attnum, position)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.confrelid AND a.attnum = k.attnum
              ORDER BY k.position) AS referenced_columns,
       ARRAY(SELECT n.nspname::text FROM unnest(c.conpfeqop) WITH ORDINALITY AS k (oid, position)
               JOIN pg_catalog.pg_operator o ON o.oid = k.oid
               JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
              ORDER BY k.position) AS operator_schemas,
       ARRAY(SELECT o.oprname::text FROM unnest(c.conpfeqop) WITH ORDINALITY AS k (oid, position)
               JOIN pg_catalog.pg_operator o ON o.oid = k.oid
              ORDER BY k.position) AS operator_names,
       pg_catalog.pg_get_constraintdef(c.oid) AS definition,
       pg_catalog.obj_description(c.oid, 'pg_constraint') AS comment,
       c.confdeltype::text AS on_delete,
       t.relkind = 'p' OR f.relkind = 'p' AS is_partitioned,
       pg_catalog.has_table_privilege(t.oid, 'SELECT')
           AND pg_catalog.has_schema_privilege(tn.oid, 'USAGE') AS may_read_table,
       pg_catalog.has_table_privilege(f.oid, 'SELECT')
           AND pg_catalog.has_schema_privilege(fn.oid, 'USAGE') AS may_read_referenced,
       pg_catalog.pg_has_role(t.relowner, 'USAGE')
           AND pg_catalog.pg_has_role(f.relowner, 'USAGE') AS is_ours
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_catalog.pg_class f ON f.oid = c.confrelid
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
 WHERE c.contype = 'f' AND c.conparentid = 0
 ORDER BY c.conrelid, c.conname
