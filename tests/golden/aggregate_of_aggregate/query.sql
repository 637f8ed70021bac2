-- An aggregation over a changelog takes old values back.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT trades, COUNT(*) AS symbols, MAX(volume) AS most FROM (SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume FROM trades GROUP BY symbol) AS per_symbol GROUP BY trades;
