-- The trades that follow, of the same symbol: the next price, and the quantity after the next (-1 where there is none);
-- beside OVERs of other rows, that need no waiting.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, quantity,
  LAG(price) OVER w AS before,
  LEAD(price) OVER w AS next,
  LEAD(quantity, 2, CAST(-1 AS BIGINT)) OVER w AS after_next,
  COUNT(*) OVER (PARTITION BY quantity ORDER BY ts) AS alike
FROM trades
WINDOW w AS (PARTITION BY symbol ORDER BY ts);
