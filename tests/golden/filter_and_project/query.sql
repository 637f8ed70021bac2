-- NULL logic, CASE, LIKE, string and arithmetic expressions.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, symbol, UPPER(symbol) || '-' || CAST(quantity AS STRING) AS label,
  CASE WHEN price IS NULL THEN 'none' WHEN price > 11 THEN 'high' ELSE 'low' END AS class,
  price * quantity AS amount
FROM trades
WHERE quantity > 4 AND (symbol LIKE 'A%' OR symbol IS NULL OR NOT symbol = 'MSFT');
