-- EXISTS and NOT EXISTS with a condition besides the equality.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, quantity FROM trades AS t
WHERE EXISTS (SELECT 1 FROM trades AS o WHERE o.symbol = t.symbol AND o.quantity > t.quantity)
  AND NOT EXISTS (SELECT 1 FROM trades AS o WHERE o.symbol = t.symbol AND o.price > t.price + 20);
