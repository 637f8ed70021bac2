-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, quantity, count(*) AS trades, grouping(symbol) AS no_symbol FROM trades GROUP BY CUBE (symbol, quantity);
