-- Everything a restore touches and must leave as it was, one line of text each; nothing of the tables that it created
-- itself (`made`, oids), nor of keys, policies and rules that it put back on others (`back`, oids).
SELECT pg_catalog.format('constraint %%s on %%s: %%s, validated %%s, comment %%s', c.conname,
                         c.conrelid::regclass, pg_catalog.pg_get_constraintdef(c.oid),
                         c.convalidated, pg_catalog.obj_description(c.oid, 'pg_constraint')) AS line
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
 WHERE t.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
   AND t.relpersistence <> 't'
   AND NOT c.conrelid = ANY (%(made)s::oid[]) AND NOT c.confrelid = ANY (%(made)s::oid[])
   AND NOT EXISTS (
       WITH RECURSIVE up (oid, parent) AS (
           SELECT c.oid, c.conparentid
           UNION ALL
           SELECT p.oid, p.conparentid FROM pg_catalog.pg_constraint p JOIN up ON p.oid = up.parent)
       SELECT FROM up WHERE up.oid = ANY (%(back)s::oid[]))
UNION ALL
SELECT pg_catalog.format('trigger %%s on %%s: %%s', g.tgname, g.tgrelid::regclass, g.tgenabled)
  FROM pg_catalog.pg_trigger g
 WHERE NOT g.tgisinternal AND NOT g.tgrelid = ANY (%(made)s::oid[])
UNION ALL
SELECT pg_catalog.format('rule %%s on %%s: %%s', r.rulename, r.ev_class::regclass, r.ev_enabled)
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class t ON t.oid = r.ev_class
 WHERE t.relkind IN ('r', 'p')
   AND t.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
   AND NOT t.oid = ANY (%(made)s::oid[]) AND NOT r.oid = ANY (%(back)s::oid[])
UNION ALL
SELECT pg_catalog.format('row-level security of %%s: %%s, forced %%s', c.oid::regclass,
                         c.relrowsecurity, c.relforcerowsecurity)
  FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
   AND NOT c.oid = ANY (%(made)s::oid[])
UNION ALL
SELECT pg_catalog.format('identity of %%s.%%s: %%s', a.attrelid::regclass, a.attname, a.attidentity)
  FROM pg_catalog.pg_attribute a
 WHERE a.attidentity <> '' AND NOT a.attisdropped AND NOT a.attrelid = ANY (%(made)s::oid[])
 ORDER BY 1
