-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, quantity FROM trades AS t
WHERE EXISTS (SELECT 1 FROM trades AS o WHERE o.symbol = t.symbol AND o.quantity > t.quantity)
  AND NOT EXISTS (SELECT 1 FROM trades AS o WHERE o.symbol = t.symbol AND o.price > t.price + 20);
