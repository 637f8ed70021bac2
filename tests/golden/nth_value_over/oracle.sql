-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, nth_value(quantity, 2) OVER (PARTITION BY symbol ORDER BY ts) AS second,
nth_value(quantity, 2) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS second_of_three
FROM trades;
