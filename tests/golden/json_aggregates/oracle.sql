-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol,
  CAST(coalesce(to_json(list(price) FILTER (WHERE price IS NOT NULL)), '[]') AS VARCHAR) AS prices,
  CAST(to_json(list(price)) AS VARCHAR) AS all_prices,
  CAST(json_group_object(strftime(ts, '%H:%M:%S'), price) AS VARCHAR) AS by_time,
  CAST(json_group_object(strftime(ts, '%H:%M:%S'), json_array(quantity)) AS VARCHAR) AS quantities,
  CAST(coalesce(to_json(list(json_object('q', quantity)) FILTER (WHERE quantity > 14)), '[]') AS VARCHAR) AS large
FROM trades
GROUP BY symbol;
