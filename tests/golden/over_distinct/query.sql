-- DISTINCT over frames that grow and frames that slide.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, symbol,
  COUNT(DISTINCT quantity) OVER (PARTITION BY symbol ORDER BY ts) AS quantities,
  SUM(DISTINCT quantity) OVER (PARTITION BY symbol ORDER BY ts) AS total,
  MAX(DISTINCT quantity) OVER (PARTITION BY symbol ORDER BY ts) AS greatest
FROM trades;
