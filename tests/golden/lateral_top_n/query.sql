-- The two largest trades of each symbol that has sold more than 10 at once, and what they have in common with none.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbols.symbol, largest.ts, largest.quantity
FROM (SELECT DISTINCT symbol FROM trades WHERE quantity > 10) symbols
LEFT JOIN LATERAL (
  SELECT ts, quantity
  FROM trades
  WHERE symbol = symbols.symbol AND price > 8
  ORDER BY quantity DESC, price, ts LIMIT 2
) largest ON TRUE;
