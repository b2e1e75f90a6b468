-- What acts when rows of these tables change: user triggers (also, up to version 14, their clones on
-- partitions, which count as internal), rules, forced row-level security, identity columns that
-- refuse values, columns of unique indexes ('' where one has expressions or a condition), and who
-- owns the tables.
SELECT 'trigger' AS kind, g.tgrelid::bigint AS table_oid, g.tgname::text AS name,
       g.tgenabled::text AS state
  FROM pg_catalog.pg_trigger g
 WHERE (NOT g.tgisinternal OR (g.tgparentid <> 0 AND g.tgconstraint = 0))
   AND g.tgrelid = ANY (%(oids)s)
UNION ALL
SELECT 'rule', r.ev_class::bigint, r.rulename::text, r.ev_enabled::text
  FROM pg_catalog.pg_rewrite r
 WHERE r.ev_type IN ('2', '3', '4') AND r.ev_class = ANY (%(oids)s)
UNION ALL
SELECT 'force', c.oid::bigint, '', ''
  FROM pg_catalog.pg_class c
 WHERE c.relrowsecurity AND c.relforcerowsecurity AND c.oid = ANY (%(oids)s)
UNION ALL
SELECT 'identity', a.attrelid::bigint, a.attname::text, a.attidentity::text
  FROM pg_catalog.pg_attribute a
 WHERE a.attidentity = 'a' AND NOT a.attisdropped AND a.attrelid = ANY (%(oids)s)
UNION ALL
SELECT DISTINCT 'unique', i.indrelid::bigint,
       CASE WHEN i.indpred IS NULL THEN coalesce(a.attname::text, '') ELSE '' END, ''
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL unnest(i.indkey::smallint[]) AS k (attnum)
  LEFT JOIN pg_catalog.pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
 WHERE (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary AND i.indrelid = ANY (%(oids)s)
UNION ALL
SELECT 'foreign owner', c.oid::bigint, pg_catalog.pg_get_userbyid(c.relowner)::text, ''
  FROM pg_catalog.pg_class c
 WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') AND c.oid = ANY (%(oids)s)
 ORDER BY 1, 2, 3
