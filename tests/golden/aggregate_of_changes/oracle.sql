-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT trades_of_symbol, sum(volume) AS volume, avg(volume) AS mean, count(*) AS symbols
FROM (SELECT symbol, count(*) AS trades_of_symbol, sum(quantity) AS volume FROM trades GROUP BY symbol)
GROUP BY trades_of_symbol;
