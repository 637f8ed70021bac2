-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT total AS volume, 2 * count(*) AS symbols
FROM (SELECT symbol, sum(quantity) AS total FROM trades GROUP BY symbol) GROUP BY total;
