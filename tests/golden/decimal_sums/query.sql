-- Sums of DECIMAL are exact.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, SUM(CAST(price AS DECIMAL(10, 2))) AS total, MAX(CAST(price AS DECIMAL(10, 2))) AS highest
FROM trades GROUP BY symbol;
