-- A view, a CTE, and a computed column's worth of nesting.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

CREATE TEMPORARY VIEW priced AS SELECT symbol, price, quantity, ts FROM trades WHERE price IS NOT NULL;

WITH amounts AS (SELECT symbol, ts, price * quantity AS amount FROM priced)
SELECT symbol, window_end, SUM(amount) AS amount
FROM TABLE(TUMBLE(TABLE amounts, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY symbol, window_start, window_end;
