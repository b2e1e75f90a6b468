-- Every CHECK of the tables given by oid: its columns, its text, and its expression alone.
SELECT c.conrelid::bigint AS table_oid,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) AS k (attnum)
               JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.conrelid AND a.attnum = k.attnum
              ORDER BY a.attnum) AS columns,
       pg_catalog.pg_get_constraintdef(c.oid) AS definition,
       pg_catalog.pg_get_expr(c.conbin, c.conrelid) AS expression
  FROM pg_catalog.pg_constraint c
 WHERE c.conrelid = ANY (%(oids)s) AND c.contype = 'c'
 ORDER BY c.conrelid, c.conname COLLATE "C"
