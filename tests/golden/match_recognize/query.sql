-- Three trades of a symbol behind one another (those of 9 left out), within ten seconds, each of less than the one before; every trade may
-- begin such a run.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol, first_quantity, last_quantity, total, highest, ended
FROM (SELECT * FROM trades WHERE quantity <> 9) MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY ts
  MEASURES
    A.quantity       AS first_quantity,
    C.quantity       AS last_quantity,
    SUM(quantity)    AS total,
    MAX(price)       AS highest,
    MATCH_ROWTIME()  AS ended
  ONE ROW PER MATCH
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B C) WITHIN INTERVAL '10' SECOND
  DEFINE
    B AS B.quantity < A.quantity,
    C AS C.quantity < LAST(quantity, 1)
) AS runs;
