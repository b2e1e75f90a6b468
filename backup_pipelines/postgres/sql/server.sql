-- What must be known of a server and its database before anything is read.
SELECT current_setting('server_version_num')::int AS version,
       current_database() AS database,
       pg_catalog.getdatabaseencoding() AS encoding,
       current_setting('block_size')::int AS block_size,
       pg_catalog.pg_is_in_recovery() AS is_standby,
       current_user AS role,
       pg_catalog.pg_backend_pid() AS backend_pid,
       pg_catalog.clock_timestamp() AS now,
       current_setting('standard_conforming_strings')::boolean AS strings_conform,
       d.datcollate AS collate,
       d.datctype AS ctype
  FROM pg_catalog.pg_database d
 WHERE d.datname = current_database()
