-- Every unique index of the tables given by oid: its columns, those within its expressions too,
-- and the condition of a partial one.
SELECT i.indrelid::bigint AS table_oid,
       i.indisprimary AS is_primary,
       i.indexprs IS NOT NULL AS has_expressions,
       ARRAY(
           SELECT a.attname::text
             FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum > 0
              AND (a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                   OR i.indexprs IS NOT NULL AND EXISTS (
                       SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::regclass
                          AND d.objid = i.indexrelid
                          AND d.refclassid = 'pg_catalog.pg_class'::regclass
                          AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))
            ORDER BY a.attnum) AS columns,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate
  FROM pg_catalog.pg_index i
 WHERE i.indrelid = ANY (%(oids)s) AND (i.indisunique OR i.indisexclusion) AND i.indislive
 ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid
