-- DISTINCT in the order of an expression of its own list.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT DISTINCT quantity % 5 + 1, symbol FROM trades WHERE symbol IS NOT NULL ORDER BY quantity % 5 + 1 DESC, symbol LIMIT 4;
