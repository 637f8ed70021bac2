-- EXCEPT ALL: each row of the right side takes one equal row of the left side away.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol FROM trades
EXCEPT ALL
SELECT symbol FROM trades WHERE price > 20;
