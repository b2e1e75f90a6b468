-- Views, keys, policies, rules and tables with what tells each from another one of the same name: its oid, and a hash of its definition ('' for tables).
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END AS kind,
       n.nspname::text AS schema, c.relname::text AS relation, '' AS name, c.oid::bigint AS oid,
       CASE WHEN c.relkind IN ('v', 'm')
            THEN pg_catalog.md5(pg_catalog.pg_get_viewdef(c.oid)) ELSE '' END AS content
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname = ANY (%(schemas)s) AND c.relname = ANY (%(relations)s)
UNION ALL
SELECT 'foreign key', n.nspname, c.relname, k.conname, k.oid::bigint,
       pg_catalog.md5(pg_catalog.pg_get_constraintdef(k.oid))
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND n.nspname = ANY (%(schemas)s) AND c.relname = ANY (%(relations)s)
UNION ALL
SELECT 'policy', n.nspname, c.relname, p.polname, p.oid::bigint,
       pg_catalog.md5(pg_catalog.concat_ws('|', p.polcmd, p.polpermissive, p.polroles,
                      pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                      pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)))
  FROM pg_catalog.pg_policy p
  JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relname = ANY (%(relations)s)
UNION ALL
SELECT 'rule', n.nspname, c.relname, r.rulename, r.oid::bigint,
       pg_catalog.md5(pg_catalog.pg_get_ruledef(r.oid))
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c ON c.oid = r.ev_class AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relname = ANY (%(relations)s)
