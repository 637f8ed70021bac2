-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, part, place FROM (
  SELECT ts, quantity * CASE place WHEN 1 THEN 1 ELSE 10 END AS part, place
  FROM trades, (VALUES (1), (2)) AS places (place))
WHERE part > 5;
