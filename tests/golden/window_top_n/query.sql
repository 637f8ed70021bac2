-- The two largest trades of each window.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT window_start, ts, quantity, place FROM (
  SELECT window_start, ts, quantity,
    ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY quantity DESC, ts) AS place
  FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '30' SECOND))) AS ranked
WHERE place <= 2;
