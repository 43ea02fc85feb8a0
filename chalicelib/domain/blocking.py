"""Who blocks whom in a database, as a query for people with operate access. It says so and ends nothing."""

WHO_BLOCKS_WHOM = """\
SELECT blocked.pid AS blocked_pid,
       blocked.usename AS blocked_user,
       blocked.query AS blocked_query,
       (SELECT min(waitstart) FROM pg_locks WHERE pid = blocked.pid AND NOT granted) AS waiting_since,
       blocker.pid AS blocking_pid,
       blocking.usename AS blocking_user,
       blocking.state AS blocking_state,
       blocking.query AS blocking_query
  FROM pg_stat_activity AS blocked
 CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(blocked.pid))) AS blocker (pid)
  LEFT JOIN pg_stat_activity AS blocking ON blocking.pid = blocker.pid AND blocking.datname = blocked.datname
 WHERE blocked.datname = current_database()
 ORDER BY waiting_since, blocked_pid;
"""
"""One row for each pair. Where the blocker is no connection of this database, or a prepared transaction (pid 0), only its pid
is known. Every name is found with ``drawbridge`` alone as the search path."""
