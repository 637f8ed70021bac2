-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, upper(symbol) || '-' || quantity AS label,
  CASE WHEN price IS NULL THEN 'none' WHEN price > 11 THEN 'high' ELSE 'low' END AS class, price * quantity AS amount
FROM trades
WHERE quantity > 4 AND (symbol LIKE 'A%' OR symbol IS NULL OR NOT symbol = 'MSFT');
