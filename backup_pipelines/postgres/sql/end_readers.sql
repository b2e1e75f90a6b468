-- One row: how many sessions of one backup's readers, of this role and on whatever machines, it has told to end.
SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(a.pid)) AS ended
FROM pg_catalog.pg_stat_activity AS a
WHERE a.application_name = %(name)s
    AND a.usename = CURRENT_USER
    AND a.pid <> pg_catalog.pg_backend_pid()
