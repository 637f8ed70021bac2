-- Tumbling windows with FILTER, DISTINCT and NULL keys.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, window_start, window_end, COUNT(*) AS trades, COUNT(price) AS priced, AVG(price) AS mean, MIN(price) AS low, MAX(price) AS high,
  SUM(quantity) FILTER (WHERE price > 10) AS volume, COUNT(DISTINCT quantity) AS sizes
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '30' SECOND))
GROUP BY symbol, window_start, window_end;
