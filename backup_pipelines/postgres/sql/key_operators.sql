-- For each of these columns of a table the operator by which a key compares it, that of its type's own B-tree.
SELECT a.attname::text AS name,
       coalesce(own.schema, 'pg_catalog') AS schema,
       coalesce(own.name, '=') AS operator
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN LATERAL (
       SELECT n.nspname::text AS schema, o.oprname::text AS name
         FROM pg_catalog.pg_amop m
         JOIN pg_catalog.pg_am b ON b.oid = m.amopmethod AND b.amname = 'btree'
         JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
         JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
        WHERE m.amopstrategy = 3 AND m.amoplefttype = m.amoprighttype
          AND m.amoplefttype = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
        ORDER BY 1 LIMIT 1) AS own ON true
 WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
