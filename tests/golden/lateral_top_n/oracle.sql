-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbols.symbol, largest.ts, largest.quantity
FROM (SELECT DISTINCT symbol FROM trades WHERE quantity > 10) symbols
LEFT JOIN (SELECT symbol, ts, quantity FROM trades WHERE price > 8 AND symbol IS NOT NULL
  QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY quantity DESC, price, ts) <= 2) largest
ON largest.symbol = symbols.symbol;
