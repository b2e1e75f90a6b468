-- Sessions that hold a lock on one of these tables and wait for one that this session holds.
SELECT w.pid
  FROM pg_catalog.pg_locks w
 WHERE NOT w.granted AND w.relation = ANY (%(oids)s)
   AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(w.pid))
   AND EXISTS (
       SELECT FROM pg_catalog.pg_locks h
        WHERE h.pid = w.pid AND h.granted AND h.relation = ANY (%(oids)s))
