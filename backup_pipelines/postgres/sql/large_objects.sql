-- How many large objects the database has; they belong to no table.
SELECT count(*) AS objects FROM pg_catalog.pg_largeobject_metadata
