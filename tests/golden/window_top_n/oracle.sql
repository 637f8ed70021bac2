-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT window_start, ts, quantity, place FROM (
  SELECT w AS window_start, ts, quantity, row_number() OVER (PARTITION BY w ORDER BY quantity DESC, ts) AS place
  FROM (SELECT *, time_bucket(INTERVAL 30 SECOND, ts) AS w FROM trades))
WHERE place <= 2;
