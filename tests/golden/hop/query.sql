-- Hopping windows whose size is no multiple of their slide.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, window_start, window_end, SUM(quantity) AS volume, AVG(quantity) AS mean, MAX(price) AS high
FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '50' SECOND))
GROUP BY symbol, window_start, window_end;
