-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT w + INTERVAL 30 SECOND AS window_end, max(volume) AS most, count(*) AS symbols
FROM (SELECT time_bucket(INTERVAL 30 SECOND, ts) AS w, sum(quantity) AS volume FROM trades GROUP BY w, symbol)
GROUP BY w;
