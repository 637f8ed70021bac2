-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, w AS window_start, w + INTERVAL 50 SECOND AS window_end, sum(quantity) AS volume,
  sum(quantity) // count(quantity) AS mean, max(price) AS high
FROM (SELECT *, time_bucket(INTERVAL 20 SECOND, ts) - n * INTERVAL 20 SECOND AS w FROM trades, range(0, 3) AS steps(n))
WHERE ts < w + INTERVAL 50 SECOND
GROUP BY symbol, w;
