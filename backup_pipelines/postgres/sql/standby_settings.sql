-- How long a standby's replay waits for whoever reads, by either way that the log comes, and whether it has the primary keep what they need.
SELECT current_setting('max_standby_streaming_delay') AS streaming_delay,
       current_setting('max_standby_archive_delay') AS archive_delay,
       current_setting('hot_standby_feedback')::boolean AS has_feedback
