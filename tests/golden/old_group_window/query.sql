-- GROUP BY TUMBLE(…) with TUMBLE_START and TUMBLE_END.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, TUMBLE_START(ts, INTERVAL '1' MINUTE) AS start_time, TUMBLE_END(ts, INTERVAL '1' MINUTE) AS end_time, COUNT(*) AS trades
FROM trades
GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), symbol
HAVING COUNT(*) > 2;
