-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, quantity FROM trades
WHERE symbol NOT IN (SELECT symbol FROM trades WHERE quantity > 10);
