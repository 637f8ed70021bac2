-- The second trade of each symbol, as soon as there is one, and the second of the last three.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, symbol,
  NTH_VALUE(quantity, 2) OVER (PARTITION BY symbol ORDER BY ts) AS second,
  NTH_VALUE(quantity, 2) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS second_of_three
FROM trades;
