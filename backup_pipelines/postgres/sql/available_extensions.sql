-- The extensions that this server could install.
SELECT name FROM pg_catalog.pg_available_extensions
