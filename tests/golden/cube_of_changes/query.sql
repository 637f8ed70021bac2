-- CUBE without a window, over all trades.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, quantity, COUNT(*) AS trades, GROUPING(symbol) AS no_symbol FROM trades GROUP BY CUBE (symbol, quantity);
