-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT time_bucket(INTERVAL 1 MINUTE, ts, INTERVAL 10 SECOND) AS window_start, sum(quantity) AS volume FROM trades GROUP BY ALL;
