-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, price, avg(price) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS moving FROM trades;
