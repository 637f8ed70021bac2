-- OVER with a frame by rows.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, symbol, quantity, SUM(quantity) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS last_three, MAX(price) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS high FROM trades;
