-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, count(*) AS trades, sum(price * quantity) AS amount FROM trades GROUP BY symbol, time_bucket(INTERVAL 1 MINUTE, ts);
