-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT ts, json, coalesce(CAST(json ->> '$.q' AS BIGINT), 0) AS quantity, 2 * price AS twice, ts + quantity * INTERVAL '1 minute' AS later
FROM (SELECT *, CAST(json_object('s', symbol, 'q', quantity, 'all', CASE
  WHEN symbol IS NULL AND quantity IS NULL THEN json_array()
  WHEN symbol IS NULL THEN json_array(quantity)
  WHEN quantity IS NULL THEN json_array(symbol)
  ELSE json_array(symbol, quantity) END) AS VARCHAR) AS json FROM trades);
