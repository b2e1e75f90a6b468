-- Every column of the tables given by oid, with domains resolved to their base type. An array is
-- named for its elements: PostgreSQL calls its type _x, or __x where another type is called _x.
WITH RECURSIVE base (type_oid, base_oid, type_mod, depth) AS (
    SELECT t.oid, t.oid, -1, 0
      FROM pg_catalog.pg_type t
    UNION ALL
    SELECT b.type_oid, t.typbasetype,
           CASE WHEN b.type_mod >= 0 THEN b.type_mod ELSE t.typtypmod END, b.depth + 1
      FROM base b
      JOIN pg_catalog.pg_type t ON t.oid = b.base_oid
     WHERE t.typtype = 'd'
), resolved AS (
    SELECT DISTINCT ON (type_oid) type_oid, base_oid, type_mod
      FROM base
     ORDER BY type_oid, depth DESC
)
SELECT a.attrelid::bigint AS table_oid,
       a.attname AS name,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.atttypid <> r.base_oid AS is_domain,
       tn.nspname AS base_schema,
       coalesce(e.typname || '[]', t.typname) AS base_name,
       t.typtype::text AS base_kind,
       CASE WHEN a.atttypid = r.base_oid THEN a.atttypmod ELSE r.type_mod END AS type_mod,
       EXISTS (
           SELECT FROM pg_catalog.pg_cast k
            WHERE k.castsource = r.base_oid AND k.casttarget = 'pg_catalog.text'::regtype
              AND k.castmethod = 'f') AS has_text_cast_function,
       a.attnotnull AS not_null,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS "default",
       a.attidentity::text AS identity,
       a.attgenerated::text AS generated
  FROM pg_catalog.pg_attribute a
  JOIN resolved r ON r.type_oid = a.atttypid
  JOIN pg_catalog.pg_type t ON t.oid = r.base_oid
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type e ON e.typarray = t.oid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
