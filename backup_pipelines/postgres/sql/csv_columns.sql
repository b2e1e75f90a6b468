-- What a column of the tables given by oid takes, beyond what columns.sql says: an enum's labels,
-- what its domains ask, and what people have written of it.
WITH RECURSIVE base (type_oid, base_oid, depth) AS (
    SELECT t.oid, t.oid, 0
      FROM pg_catalog.pg_type t
    UNION ALL
    SELECT b.type_oid, t.typbasetype, b.depth + 1
      FROM base b
      JOIN pg_catalog.pg_type t ON t.oid = b.base_oid
     WHERE t.typtype = 'd'
)
SELECT a.attrelid::bigint AS table_oid,
       a.attname AS name,
       coalesce(pg_catalog.col_description(a.attrelid, a.attnum), '') AS comment,
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
         LIMIT 1) AS domain_default
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
