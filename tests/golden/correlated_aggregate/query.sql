-- A correlated scalar sub-query, compared with each row.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, quantity FROM trades AS t
WHERE quantity > (SELECT AVG(CAST(o.quantity AS DOUBLE)) FROM trades AS o WHERE o.symbol = t.symbol);
