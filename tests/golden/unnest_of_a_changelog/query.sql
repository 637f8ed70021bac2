-- An array that is taken back takes its elements back.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT volume, COUNT(*) AS symbols
FROM (SELECT symbol, SUM(quantity) AS total FROM trades GROUP BY symbol) AS totals,
  UNNEST(ARRAY[total, total]) AS volumes (volume)
GROUP BY volume;
