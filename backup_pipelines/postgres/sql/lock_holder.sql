-- The session that holds the advisory lock with this 64-bit key.
SELECT l.pid,
       coalesce(nullif(a.application_name, ''), 'no application name') AS application,
       coalesce(a.backend_start, now()) AS since
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s
