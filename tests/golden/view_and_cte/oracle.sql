-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, time_bucket(INTERVAL 1 MINUTE, ts) + INTERVAL 1 MINUTE AS window_end, sum(price * quantity) AS amount
FROM trades WHERE price IS NOT NULL GROUP BY ALL;
