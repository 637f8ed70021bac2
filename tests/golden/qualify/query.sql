-- The largest trade of each symbol, the earlier one of two equal ones.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, ts, quantity
FROM trades
WHERE price > 10
QUALIFY ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY quantity DESC, ts) = 1;
