-- What else decides how the tables given by oid are backed up and restored; needs no SELECT.
SELECT c.oid::bigint AS oid,
       c.relpersistence = 'u' AS unlogged,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS may_write,
       pg_catalog.row_security_active(c.oid) AS rows_hidden,
       ARRAY(
           SELECT a.attname
             FROM pg_catalog.pg_index i
            CROSS JOIN LATERAL unnest(i.indkey::smallint[]) AS k (attnum)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indrelid = c.oid AND i.indisprimary
       ) AS primary_key
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY (%(oids)s)
