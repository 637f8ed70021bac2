-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT count(*) AS trades, sum(quantity) AS volume, max(symbol) AS last_symbol, stddev_pop(quantity) AS spread FROM trades;
