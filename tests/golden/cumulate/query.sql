-- Cumulating windows.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT window_start, window_end, COUNT(*) AS trades, SUM(quantity) AS volume
FROM TABLE(CUMULATE(TABLE trades, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
