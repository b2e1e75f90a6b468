-- Installed extensions but plpgsql, which every database has.
SELECT extname AS name FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1
