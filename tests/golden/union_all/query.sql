-- UNION ALL of two readings of one scan.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, symbol, quantity AS amount FROM trades WHERE quantity > 12 UNION ALL SELECT ts, symbol, -quantity AS amount FROM trades WHERE quantity < 3;
