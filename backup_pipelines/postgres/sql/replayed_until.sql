-- Up to when a standby surely has what its primary committed, null on a primary; and whether the role may not see what it has heard of its primary.
SELECT CASE
         WHEN pg_catalog.pg_is_in_recovery()
         THEN coalesce(greatest(pg_catalog.pg_last_xact_replay_timestamp(), heard.until),
                       -- Nothing was replayed since the start: it is as old as where that began.
                       (SELECT checkpoint_time FROM pg_catalog.pg_control_checkpoint()))
       END AS until,
       EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver WHERE status IS NULL) AS is_hidden
  FROM (SELECT max(last_msg_send_time) AS until
          FROM pg_catalog.pg_stat_wal_receiver
         -- The end of the primary's own log when it said so, not the end of what came from there.
         WHERE latest_end_lsn <= pg_catalog.pg_last_wal_replay_lsn()
         -- They are the same until a receiver that was started anew has heard anything.
           AND last_msg_send_time <> last_msg_receipt_time) AS heard
