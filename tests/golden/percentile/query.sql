-- Exact percentiles: in windows, and weighted.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, window_start,
  PERCENTILE(price, 0.5) AS middle,
  PERCENTILE(quantity, 0.9) AS high,
  PERCENTILE(price, 0.25, quantity) AS weighted
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY symbol, window_start, window_end;
