-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, time_bucket(INTERVAL 1 MINUTE, ts) AS start_time, time_bucket(INTERVAL 1 MINUTE, ts) + INTERVAL 1 MINUTE AS end_time, count(*) AS trades
FROM trades GROUP BY ALL HAVING count(*) > 2;
