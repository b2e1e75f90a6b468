-- What the planner and the statistics collector take the tables to have: rows at so many pages, and
-- live rows. Locks nothing, and waits for nobody, as pg_relation_size would.
SELECT c.oid::bigint AS oid,
       c.reltuples::float8 AS rows,
       c.relpages AS pages,
       pg_catalog.pg_stat_get_live_tuples(c.oid) AS live_rows,
       pg_catalog.current_setting('block_size')::bigint AS block_size
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY (%(oids)s)
