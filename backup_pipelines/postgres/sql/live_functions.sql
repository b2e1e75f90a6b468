-- Every function and procedure: as pg_dump announces it (name with the types of its arguments), as SQL names it, and a hash of its definition.
SELECT 'function' AS kind,
       n.nspname::text AS schema,
       p.proname || '(' || pg_catalog.array_to_string(ARRAY(
           SELECT pg_catalog.format_type(t.oid, NULL)
             FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, position)
            ORDER BY t.position), ', ') || ')' AS relation,
       '' AS name,
       p.oid::bigint AS oid,
       p.oid::regprocedure::text AS signature,
       CASE WHEN p.prokind IN ('f', 'p')
            THEN pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid)) ELSE '' END AS content
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
