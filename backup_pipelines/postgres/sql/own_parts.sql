-- The policies, rules and triggers of these relations, which go with them; those of partitions that come from their table are its.
SELECT 'policy' AS kind, n.nspname::text AS schema, c.relname::text AS relation, p.polname::text AS name
  FROM pg_catalog.pg_policy p
  JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(oids)s)
UNION ALL
SELECT 'rule', n.nspname, c.relname, r.rulename
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(oids)s) AND r.ev_type <> '1'
UNION ALL
SELECT 'trigger', n.nspname, c.relname, g.tgname
  FROM pg_catalog.pg_trigger g
  JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(oids)s) AND NOT g.tgisinternal AND g.tgparentid = 0
