-- LATERAL with GROUP BY and LIMIT: the two most frequent prices of each symbol.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT s.symbol, t.price, t.n
FROM (SELECT DISTINCT symbol FROM trades) AS s,
  LATERAL (SELECT price, COUNT(*) AS n FROM trades AS o WHERE o.symbol = s.symbol AND price IS NOT NULL
    GROUP BY price HAVING COUNT(*) > 1 ORDER BY n DESC, price LIMIT 2) AS t;
