-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, symbol, count(*) OVER (PARTITION BY symbol ORDER BY ts RANGE BETWEEN INTERVAL 20 SECOND PRECEDING AND CURRENT ROW) AS recent FROM trades;
