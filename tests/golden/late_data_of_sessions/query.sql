-- LATE DATA TO behind a session window, with named columns: rows that no open session takes.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/data/trades', 'format' = 'json');
CREATE TABLE volumes (symbol STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), volume BIGINT)
WITH ('connector' = 'print');
CREATE TABLE late_trades (why STRING, quantity BIGINT, symbol STRING) WITH ('connector' = 'print');

INSERT INTO volumes
SELECT symbol, window_start, window_end, SUM(quantity) AS volume
FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, DESCRIPTOR(ts), INTERVAL '30' SECOND))
GROUP BY symbol, window_start, window_end
LATE DATA TO late_trades (symbol, quantity);
