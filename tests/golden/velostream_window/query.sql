-- The sugar of the Velostream family.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, COUNT(*) AS trades, SUM(price * quantity) AS amount FROM trades GROUP BY symbol WINDOW TUMBLING (ts, 1m) EMIT CHANGES;
