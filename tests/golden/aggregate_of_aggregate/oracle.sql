-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT trades, count(*) AS symbols, max(volume) AS most FROM (SELECT symbol, count(*) AS trades, sum(quantity) AS volume FROM trades GROUP BY symbol) GROUP BY trades;
