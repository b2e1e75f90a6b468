-- Relations that hold rows a logical backup leaves out by nature, with the reason.
SELECT n.nspname AS schema,
       c.relname AS name,
       CASE c.relkind WHEN 'f' THEN 'foreign table: its rows live on another server'
                      ELSE 'belongs to the extension ' || e.extname END AS reason
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_depend d
         ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        AND d.refclassid = 'pg_catalog.pg_extension'::regclass
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND (c.relkind = 'f' OR (c.relkind IN ('r', 'p') AND e.oid IS NOT NULL))
 ORDER BY 1, 2
