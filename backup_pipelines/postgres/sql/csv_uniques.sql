-- Every unique index of the tables given by oid: its columns, those within its expressions too,
-- the condition of a partial one, and its keys one by one with how two values of each are compared.
SELECT i.indrelid::bigint AS table_oid,
       c.relname::text AS name,
       i.indisprimary AS is_primary,
       i.indisexclusion AS is_exclusion,
       -- Servers before 15 do not have it.
       coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)
           AS nulls_not_distinct,
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
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       k.expressions AS key_expressions,
       k.collations AS key_collations,
       k.operator_schemas,
       k.operator_names
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 CROSS JOIN LATERAL (
       SELECT array_agg(pg_catalog.pg_get_indexdef(i.indexrelid, n.n, true) ORDER BY n.n)
                  AS expressions,
              array_agg(pg_catalog.quote_ident(ln.nspname) || '.'
                        || pg_catalog.quote_ident(l.collname) ORDER BY n.n) AS collations,
              array_agg(o.schema ORDER BY n.n) AS operator_schemas,
              array_agg(o.name ORDER BY n.n) AS operator_names
         FROM pg_catalog.generate_series(1, i.indnkeyatts::int) AS n (n)
         LEFT JOIN pg_catalog.pg_collation l ON l.oid = i.indcollation[n.n - 1]
         LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace
         LEFT JOIN LATERAL (
               SELECT s.nspname::text AS schema, p.oprname::text AS name
                 FROM pg_catalog.pg_opclass q
                 JOIN pg_catalog.pg_amop m
                   ON m.amopfamily = q.opcfamily AND m.amoplefttype = q.opcintype
                  AND m.amoprighttype = q.opcintype AND m.amopstrategy = 3
                 JOIN pg_catalog.pg_am am ON am.oid = m.amopmethod AND am.amname = 'btree'
                 JOIN pg_catalog.pg_operator p ON p.oid = m.amopopr
                 JOIN pg_catalog.pg_namespace s ON s.oid = p.oprnamespace
                WHERE q.oid = i.indclass[n.n - 1]) AS o ON true) AS k
 WHERE i.indrelid = ANY (%(oids)s) AND (i.indisunique OR i.indisexclusion) AND i.indislive
 ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid
