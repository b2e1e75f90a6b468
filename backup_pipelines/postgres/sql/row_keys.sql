-- The columns of every unique key of the tables given by oid that counts for all rows, in key
-- order, each with its index's own equality operator: another type's "=", or none, may be what an
-- unqualified name finds.
SELECT i.indrelid::bigint AS table_oid,
       i.indisprimary AS is_primary,
       array_agg(a.attname::text ORDER BY k.position) AS columns,
       array_agg(n.nspname::text ORDER BY k.position) AS operator_schemas,
       array_agg(o.oprname::text ORDER BY k.position) AS operator_names
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, position)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[k.position - 1]
  JOIN pg_catalog.pg_amop m
    ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
   AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
   AND m.amopmethod = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree')
  JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
  JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
 WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
   AND k.position <= i.indnkeyatts AND i.indrelid = ANY (%(oids)s)
 GROUP BY i.indrelid, i.indexrelid, i.indisprimary, i.indnkeyatts
HAVING count(*) = i.indnkeyatts
 ORDER BY i.indexrelid
