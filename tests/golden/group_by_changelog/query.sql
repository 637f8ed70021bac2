-- Unbounded aggregation with HAVING: a changelog.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume, MIN(price) AS low, AVG(quantity) AS mean FROM trades GROUP BY symbol HAVING SUM(quantity) > 50;
