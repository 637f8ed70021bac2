-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT DISTINCT symbol, quantity > 8 AS large FROM trades;
