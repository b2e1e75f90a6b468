-- What a column of the tables given by oid takes, beyond what columns.sql says: its type without
-- domains, an enum's labels, what its domains ask, whether its default can be another each time,
-- and what people have written of it.
WITH RECURSIVE base (type_oid, base_oid, type_mod, depth) AS (
    SELECT t.oid, t.oid, -1, 0
      FROM pg_catalog.pg_type t
    UNION ALL
    SELECT b.type_oid, t.typbasetype,
           CASE WHEN b.type_mod >= 0 THEN b.type_mod ELSE t.typtypmod END, b.depth + 1
      FROM base b
      JOIN pg_catalog.pg_type t ON t.oid = b.base_oid
     WHERE t.typtype = 'd'
)
SELECT a.attrelid::bigint AS table_oid,
       a.attname AS name,
       coalesce(pg_catalog.col_description(a.attrelid, a.attnum), '') AS comment,
       (SELECT pg_catalog.format_type(b.base_oid,
                   CASE WHEN b.depth = 0 THEN a.atttypmod ELSE b.type_mod END)
          FROM base b
         WHERE b.type_oid = a.atttypid
         ORDER BY b.depth DESC
         LIMIT 1) AS written,
       ARRAY(
           SELECT e.enumlabel::text
             FROM base b
             JOIN pg_catalog.pg_enum e ON e.enumtypid = b.base_oid
            WHERE b.type_oid = a.atttypid
            ORDER BY e.enumsortorder) AS labels,
       ARRAY(
           SELECT pg_catalog.pg_get_constraintdef(c.oid)
             FROM base b
             JOIN pg_catalog.pg_constraint c ON c.contypid = b.base_oid AND c.contype = 'c'
            WHERE b.type_oid = a.atttypid
            ORDER BY b.depth, c.conname) AS domain_checks,
       ARRAY(
           SELECT c.conname::text
             FROM base b
             JOIN pg_catalog.pg_constraint c ON c.contypid = b.base_oid AND c.contype = 'c'
            WHERE b.type_oid = a.atttypid
            ORDER BY b.depth, c.conname) AS domain_check_names,
       coalesce((
           SELECT bool_or(t.typnotnull)
             FROM base b
             JOIN pg_catalog.pg_type t ON t.oid = b.base_oid
            WHERE b.type_oid = a.atttypid), false) AS domain_not_null,
       (SELECT t.typdefault
          FROM base b
          JOIN pg_catalog.pg_type t ON t.oid = b.base_oid
         WHERE b.type_oid = a.atttypid AND t.typdefault IS NOT NULL
         ORDER BY b.depth
         LIMIT 1) AS domain_default,
       -- The functions of an expression are in its tree by number: dependencies lack the built-in.
       EXISTS (
           SELECT FROM (
               SELECT d.adbin::text AS tree
                 FROM pg_catalog.pg_attrdef d
                WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum
               UNION ALL
               SELECT t.typdefaultbin::text
                 FROM base b
                 JOIN pg_catalog.pg_type t ON t.oid = b.base_oid
                WHERE b.type_oid = a.atttypid AND NOT a.atthasdef) AS e
          CROSS JOIN LATERAL
               pg_catalog.regexp_matches(e.tree, 'funcid (\d+)', 'g') AS f (oids)
           JOIN pg_catalog.pg_proc p ON p.oid = f.oids[1]::oid
          WHERE p.provolatile = 'v') AS default_varies
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
