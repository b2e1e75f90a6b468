-- The schemas of the database.
SELECT nspname AS name FROM pg_catalog.pg_namespace
