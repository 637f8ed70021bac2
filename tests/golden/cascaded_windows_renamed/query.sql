-- Windows over windows whose time goes by another name; the outer one reads neither the key nor the inner bounds.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT window_start, MAX(n) AS most, SUM(n) AS trades
FROM TABLE(TUMBLE((
  SELECT symbol, window_time AS ended, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '10' SECOND))
  GROUP BY symbol, window_start, window_end, window_time
), DESCRIPTOR(ended), INTERVAL '30' SECOND))
GROUP BY window_start, window_end;
