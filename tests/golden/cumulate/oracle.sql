-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT s.w AS window_start, s.w + n * INTERVAL 20 SECOND AS window_end, count(*) AS trades, sum(quantity) AS volume
FROM (SELECT *, time_bucket(INTERVAL 1 MINUTE, ts) AS w FROM trades) AS s, range(1, 4) AS steps(n)
WHERE ts < s.w + n * INTERVAL 20 SECOND
GROUP BY ALL;
