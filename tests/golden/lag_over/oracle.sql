-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, quantity, lag(quantity, 1, -1) OVER (PARTITION BY symbol ORDER BY ts) AS before FROM trades;
