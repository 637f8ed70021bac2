-- INTERSECT ALL: a row comes out as often as it stands on the side that has it less often.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol FROM trades WHERE quantity < 20
INTERSECT ALL
SELECT symbol FROM trades WHERE price > 20;
