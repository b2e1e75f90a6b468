-- The relations that dropping what has these oids locks: tables, views, and the tables that keys, policies, rules and partitions tie to it;
-- and whether a table that is dropped can be neither read nor locked by its owner.
SELECT c.oid::bigint AS oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.relkind IN ('v', 'm') AS is_view,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       c.relkind IN ('r', 'p') AND c.oid = ANY (%(oids)s)
           AND NOT (pg_catalog.has_table_privilege(c.relowner, c.oid, 'SELECT')
                    AND pg_catalog.has_table_privilege(c.relowner, c.oid, 'TRUNCATE')) AS lacks_rights
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')
   AND (c.relkind IN ('r', 'p', 'v', 'm') AND c.oid = ANY (%(oids)s)
        OR c.relkind IN ('r', 'p') AND c.oid IN (
           SELECT k.conrelid FROM pg_catalog.pg_constraint k
            WHERE k.contype = 'f' AND (k.confrelid = ANY (%(oids)s) OR k.oid = ANY (%(oids)s))
           UNION
           SELECT k.confrelid FROM pg_catalog.pg_constraint k
            WHERE k.contype = 'f' AND (k.conrelid = ANY (%(oids)s) OR k.oid = ANY (%(oids)s))
           UNION
           SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = ANY (%(oids)s)
           UNION
           SELECT r.ev_class FROM pg_catalog.pg_rewrite r WHERE r.oid = ANY (%(oids)s)
           UNION
           SELECT i.inhparent FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid AND p.relispartition
            WHERE i.inhrelid = ANY (%(oids)s)))
 ORDER BY 1
