-- A window over window results.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT window_end, MAX(volume) AS most, COUNT(*) AS symbols
FROM (
  SELECT symbol, window_start, window_end, SUM(quantity) AS volume
  FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '30' SECOND))
  GROUP BY symbol, window_start, window_end
) AS per_symbol
GROUP BY window_start, window_end;
