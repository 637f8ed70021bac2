-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, ts, quantity
FROM trades
WHERE price > 10
QUALIFY ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY quantity DESC, ts) = 1;
