-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, time_bucket(INTERVAL 30 SECOND, ts) AS window_start, time_bucket(INTERVAL 30 SECOND, ts) + INTERVAL 30 SECOND AS window_end,
  count(*) AS trades, count(price) AS priced, avg(price) AS mean, min(price) AS low, max(price) AS high,
  sum(quantity) FILTER (WHERE price > 10) AS volume, count(DISTINCT quantity) AS sizes
FROM trades GROUP BY ALL;
