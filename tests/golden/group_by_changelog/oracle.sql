-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, count(*) AS trades, sum(quantity) AS volume, min(price) AS low, sum(quantity) // count(quantity) AS mean FROM trades GROUP BY symbol HAVING sum(quantity) > 50;
