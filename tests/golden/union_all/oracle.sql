-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, quantity AS amount FROM trades WHERE quantity > 12 UNION ALL SELECT ts, symbol, -quantity FROM trades WHERE quantity < 3;
