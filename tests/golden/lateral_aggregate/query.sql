-- A LATERAL sub-query becomes a join with an aggregation.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT t.ts, highest
FROM trades AS t, LATERAL (SELECT MAX(price) AS highest FROM trades AS o WHERE o.symbol = t.symbol) AS best
WHERE t.quantity > 10;
