-- The other sessions that hold locks on these tables, for people to recognise.
SELECT DISTINCT pg_catalog.format('server process %%s (%%s, %%s) in a transaction since %%s on %%s',
                                  l.pid, a.usename,
                                  coalesce(nullif(a.application_name, ''), 'no name'),
                                  pg_catalog.to_char(a.xact_start, 'HH24:MI:SS'),
                                  l.relation::regclass) AS text
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.granted AND l.relation = ANY (%(oids)s) AND l.pid <> pg_catalog.pg_backend_pid()
 ORDER BY 1
