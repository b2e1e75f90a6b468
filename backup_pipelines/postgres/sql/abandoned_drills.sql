-- Scratch databases whose drill's session is gone: nobody holds the lock of their name.
SELECT d.datname AS name
  FROM pg_catalog.pg_database d
 WHERE starts_with(d.datname, %(prefix)s)
   AND pg_catalog.pg_has_role(d.datdba, 'USAGE')
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint)
              = pg_catalog.hashtext(d.datname)::bigint)
