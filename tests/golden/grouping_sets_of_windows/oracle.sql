-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT w AS window_start, symbol, quantity, count(*) AS trades, sum(price) AS total
FROM (SELECT *, time_bucket(INTERVAL 1 MINUTE, ts) AS w FROM trades)
GROUP BY GROUPING SETS ((w, symbol), (w, quantity), (w));
