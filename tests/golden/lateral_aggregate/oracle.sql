-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT t.ts, highest
FROM trades AS t, LATERAL (SELECT max(price) AS highest FROM trades AS o WHERE o.symbol = t.symbol) AS best
WHERE t.quantity > 10;
