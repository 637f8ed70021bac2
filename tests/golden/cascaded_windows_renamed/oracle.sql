-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT time_bucket(INTERVAL '30' SECOND, inner_start) AS window_start, max(n) AS most, sum(n) AS trades
FROM (SELECT symbol, time_bucket(INTERVAL '10' SECOND, ts) AS inner_start, count(*) AS n FROM trades GROUP BY ALL)
GROUP BY ALL;
