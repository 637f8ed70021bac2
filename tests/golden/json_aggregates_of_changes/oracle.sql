-- The same answer in DuckDB's words, over the table `trades` (scripts/check-golden).
SELECT symbol, CAST(json_array(total) AS VARCHAR) AS totals, CAST(json_object('total', total) AS VARCHAR) AS object
FROM (SELECT symbol, CAST(sum(quantity) AS BIGINT) AS total FROM trades GROUP BY symbol);
