-- LATE DATA TO: rows that come when their minute is complete go to a table of their own, all columns of them.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/data/trades', 'format' = 'json');
CREATE TABLE volumes (symbol STRING, window_end TIMESTAMP(3), volume BIGINT) WITH ('connector' = 'print');
CREATE TABLE late_trades (ts TIMESTAMP(3), symbol STRING, price DOUBLE, quantity BIGINT) WITH ('connector' = 'print');

INSERT INTO volumes
SELECT UPPER(symbol), window_end, SUM(quantity * 2) / 2 AS volume
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
WHERE quantity > 0
GROUP BY UPPER(symbol), window_start, window_end
EMIT FINAL LATE DATA TO late_trades;
