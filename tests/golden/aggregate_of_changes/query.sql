-- Sums and averages of results that change: what was added is taken back, in two phases as in one.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT trades_of_symbol, SUM(volume) AS volume, AVG(CAST(volume AS DOUBLE)) AS mean, COUNT(*) AS symbols
FROM (SELECT symbol, COUNT(*) AS trades_of_symbol, SUM(quantity) AS volume FROM trades GROUP BY symbol) AS per_symbol
GROUP BY trades_of_symbol;
