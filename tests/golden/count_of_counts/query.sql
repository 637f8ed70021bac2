-- Two phases over a changelog: a group that all its rows have left is gone, and what is left averages right.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT trades, COUNT(*) AS symbols, AVG(volume) AS mean_volume
FROM (SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume FROM trades GROUP BY symbol) AS per_symbol
GROUP BY trades;
