-- Who has rights on these relations and functions (`grantee` NULL is everybody), as default privileges gave them; nothing where those say nothing.
SELECT DISTINCT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
       pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name,
       CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END AS grantee,
       a.grantee = c.relowner AS is_owner
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
 WHERE c.oid = ANY (%(relations)s)
UNION ALL
SELECT DISTINCT 'ROUTINE', p.oid::regprocedure::text,
       CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END,
       a.grantee = p.proowner
  FROM pg_catalog.pg_proc p
 CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) AS a
 WHERE p.oid = ANY (%(functions)s)
 ORDER BY 1, 2, 3
