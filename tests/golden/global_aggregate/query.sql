-- Aggregates without a key.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT COUNT(*) AS trades, SUM(quantity) AS volume, MAX(symbol) AS last_symbol, STDDEV_POP(quantity) AS spread FROM trades;
