-- The roles that own something in this database, have a right on it, or are named by a policy.
SELECT DISTINCT r.rolname AS name
  FROM pg_catalog.pg_shdepend d
  JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
 WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass
   AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
