-- The primary key columns, in key order, of the tables given by oid.
SELECT i.indrelid::bigint AS table_oid,
       array_agg(a.attname ORDER BY k.position) AS columns
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, position)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indisprimary AND i.indrelid = ANY (%(oids)s)
 GROUP BY i.indrelid
