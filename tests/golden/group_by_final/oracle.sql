-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, count(*) AS trades, max(price) AS high FROM trades GROUP BY symbol;
