-- Rows that stand in the text, joined with trades; what no trade has stays with 0.
CREATE TABLE trades (
  ts       TIMESTAMP(3),
  symbol   STRING,
  price    DOUBLE,
  quantity BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '../trades.ndjson', 'format' = 'json');

CREATE TEMPORARY VIEW names AS
SELECT * FROM (VALUES ('AAPL', 'Apple', 1 + 1), ('MSFT', 'Microsoft', NULL), ('XXX', NULL, 3)) AS t (symbol, name, number);

SELECT names.symbol, names.name, names.number, COUNT(trades.symbol) AS trades
FROM names LEFT JOIN trades ON trades.symbol = names.symbol
GROUP BY names.symbol, names.name, names.number;
