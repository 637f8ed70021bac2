-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, quantity, w + INTERVAL 30 SECOND AS window_end
FROM (SELECT *, time_bucket(INTERVAL 30 SECOND, ts) AS w, max(quantity) OVER (PARTITION BY time_bucket(INTERVAL 30 SECOND, ts)) AS most FROM trades)
WHERE quantity = most;
