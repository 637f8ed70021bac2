-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, w AS window_start, count(*) AS trades, sum(quantity) AS volume
FROM (SELECT *, time_bucket(INTERVAL 30 SECOND, ts) - n * INTERVAL 30 SECOND AS w FROM trades, range(0, 2) AS steps(n))
GROUP BY symbol, w;
