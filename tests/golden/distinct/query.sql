-- SELECT DISTINCT.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT DISTINCT symbol, quantity > 8 AS large FROM trades;
