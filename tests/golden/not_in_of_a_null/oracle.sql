-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, quantity FROM trades
WHERE symbol NOT IN (SELECT symbol FROM trades WHERE symbol IS NOT NULL AND quantity > 15)
  AND symbol NOT IN (SELECT symbol FROM trades WHERE quantity > 1000000);
