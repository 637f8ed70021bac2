-- NOT IN where the sub-query selects a NULL: it is true for no row.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, quantity FROM trades
WHERE symbol NOT IN (SELECT symbol FROM trades WHERE quantity > 10);
