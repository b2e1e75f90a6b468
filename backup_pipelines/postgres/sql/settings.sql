-- Everything that changes how values print, so that texts and hashes are equal on both sides,
-- and everything that could end a long read or a silent session, whatever the role's or the
-- database's own settings are. One statement: one round trip.
SELECT set_config('timezone', 'UTC', false),
       set_config('datestyle', 'ISO, YMD', false),
       set_config('intervalstyle', 'postgres', false),
       set_config('extra_float_digits', '1', false),
       set_config('bytea_output', 'hex', false),
       set_config('lc_monetary', 'C', false),
       set_config('xmloption', 'content', false),
       set_config('search_path', '', false),
       set_config('row_security', 'off', false),
       set_config('statement_timeout', '0', false),
       set_config('lock_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false),
       set_config('synchronize_seqscans', 'off', false),
       -- To compile the expressions of a wide table takes longer than to hash 50 MB of it, for each
       -- of its pieces anew, and gains nothing (200 columns on PostgreSQL 15: 0.3 s to 1.1).
       set_config('jit', 'off', false),
       -- The server lets go of our locks and our snapshot soon after this machine is gone.
       set_config('tcp_keepalives_idle', '60', false),
       set_config('tcp_keepalives_interval', '15', false),
       set_config('tcp_keepalives_count', '8', false),
       -- Servers before 17 do not have the first, servers before 14 not the second.
       (SELECT count(set_config(name, '0', false))
          FROM pg_catalog.pg_settings
         WHERE name IN ('transaction_timeout', 'idle_session_timeout'))
