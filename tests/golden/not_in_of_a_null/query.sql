-- NOT IN of a NULL is not true, unless the sub-query selects nothing.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, quantity FROM trades
WHERE symbol NOT IN (SELECT symbol FROM trades WHERE symbol IS NOT NULL AND quantity > 15)
  AND symbol NOT IN (SELECT symbol FROM trades WHERE quantity > 1000000);
