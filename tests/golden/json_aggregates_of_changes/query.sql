-- A total that changes is taken out of the array and the object again.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, JSON_ARRAYAGG(total) AS totals, JSON_OBJECTAGG(KEY 'total' VALUE total) AS object
FROM (SELECT symbol, SUM(quantity) AS total FROM trades GROUP BY symbol)
GROUP BY symbol;
