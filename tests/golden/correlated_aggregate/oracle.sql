-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, quantity FROM trades AS t
WHERE quantity > (SELECT avg(o.quantity) FROM trades AS o WHERE o.symbol = t.symbol);
