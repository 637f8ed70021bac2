-- IN over several columns.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, symbol, price FROM trades
WHERE (symbol, price) IN (SELECT symbol, MAX(price) FROM trades GROUP BY symbol) AND quantity > 3;
