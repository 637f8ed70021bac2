-- The rows of a group as one JSON array or object.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT symbol,
  JSON_ARRAYAGG(price) AS prices,
  JSON_ARRAYAGG(price NULL ON NULL) AS all_prices,
  JSON_OBJECTAGG(KEY DATE_FORMAT(ts, 'HH:mm:ss') VALUE price) AS by_time,
  JSON_OBJECTAGG(DATE_FORMAT(ts, 'HH:mm:ss') VALUE JSON_ARRAY(quantity) ABSENT ON NULL) AS quantities,
  JSON_ARRAYAGG(JSON_OBJECT('q' VALUE quantity)) FILTER (WHERE quantity > 14) AS large
FROM trades
GROUP BY symbol;
