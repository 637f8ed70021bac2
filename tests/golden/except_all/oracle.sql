-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol FROM trades
EXCEPT ALL
SELECT symbol FROM trades WHERE price > 20;
