-- The prices before and behind a trade, those without a price passed over.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, price,
  LAG(price) IGNORE NULLS OVER w AS before,
  LAG(price, 2) IGNORE NULLS OVER w AS before_that,
  LEAD(price) IGNORE NULLS OVER w AS next,
  LEAD(price, 2) IGNORE NULLS OVER w AS after_next,
  LEAD(price) OVER w AS next_of_all
FROM trades
WINDOW w AS (PARTITION BY symbol ORDER BY ts);
