-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol FROM trades WHERE quantity < 20
INTERSECT ALL
SELECT symbol FROM trades WHERE price > 20;
