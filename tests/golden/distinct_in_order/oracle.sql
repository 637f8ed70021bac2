-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT DISTINCT quantity % 5 + 1 AS "EXPR$0", symbol FROM trades WHERE symbol IS NOT NULL ORDER BY 1 DESC, symbol LIMIT 4;
