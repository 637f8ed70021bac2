-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, time_bucket(INTERVAL 30 SECOND, ts) + INTERVAL 30 SECOND AS window_end, sum(quantity) AS volume
FROM trades GROUP BY symbol, window_end;
