-- Each row once per element of an array of its own, with the place of the element.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, part, place
FROM trades CROSS JOIN UNNEST(ARRAY[quantity, quantity * 10]) WITH ORDINALITY AS parts (part, place)
WHERE part > 5;
