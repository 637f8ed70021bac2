-- JSON and maps made of columns, and read again.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT ts, json,
  JSON_VALUE(json, '$.q' RETURNING BIGINT DEFAULT 0 ON EMPTY) AS quantity,
  MAP['price', price, 'double', 2 * price]['double'] AS twice,
  ts + INTERVAL '1' MINUTE * quantity AS later
FROM (SELECT *, JSON_OBJECT('s' VALUE symbol, 'q' VALUE quantity, 'all' VALUE JSON_ARRAY(symbol, quantity)) AS json FROM trades);
