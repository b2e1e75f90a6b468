-- Gives sorts and joins of the transaction the memory that a file of a million rows takes, where
-- the server gives less. Returns the new setting, or nothing.
SELECT pg_catalog.set_config('work_mem', '64MB', true) AS work_mem
 WHERE pg_catalog.pg_size_bytes(pg_catalog.current_setting('work_mem'))
       < pg_catalog.pg_size_bytes('64MB')
