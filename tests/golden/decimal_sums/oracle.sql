-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, sum(CAST(price AS DECIMAL(10, 2))) AS total, max(CAST(price AS DECIMAL(10, 2))) AS highest
FROM trades GROUP BY symbol;
