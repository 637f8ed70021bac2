-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, price, n FROM (
  SELECT symbol, price, count(*) AS n, row_number() OVER (PARTITION BY symbol ORDER BY count(*) DESC, price) AS place
  FROM trades WHERE price IS NOT NULL AND symbol IS NOT NULL GROUP BY symbol, price HAVING count(*) > 1)
WHERE place <= 2;
