-- Aggregates that cannot take a value back by themselves keep the values: none is lost, none stays.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

SELECT trades_of_symbol % 2 AS odd, LISTAGG(symbol) = LISTAGG(symbol) AS listed,
  CHAR_LENGTH(LISTAGG(CAST(volume AS STRING))) AS digits, APPROX_COUNT_DISTINCT(symbol) AS symbols,
  BIT_OR(volume) AS bits, BOOL_AND(volume > 30) AS large, CARDINALITY(ARRAY_AGG(volume)) AS volumes
FROM (SELECT symbol, COUNT(*) AS trades_of_symbol, SUM(quantity) AS volume FROM trades GROUP BY symbol) AS per_symbol
GROUP BY trades_of_symbol % 2;
