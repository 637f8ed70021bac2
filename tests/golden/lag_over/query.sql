-- The trade before, of the same symbol.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, quantity, LAG(quantity, 1, CAST(-1 AS BIGINT)) OVER (PARTITION BY symbol ORDER BY ts) AS before FROM trades;
