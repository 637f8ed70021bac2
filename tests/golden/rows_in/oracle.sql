-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, price FROM trades
WHERE (symbol, price) IN (SELECT symbol, max(price) FROM trades GROUP BY symbol) AND quantity > 3;
