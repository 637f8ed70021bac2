-- Scenario 1. ROWS window: the average price of the last 100 rows of each of 10 symbols.
-- In Velostream's words; `velocore bench scenarios --scenario s1 --dialect velostream` runs it.
CREATE TABLE market_data (
  symbol      STRING,
  trader_id   STRING,
  price       DOUBLE,
  quantity    BIGINT,
  `timestamp` TIMESTAMP(3),
  WATERMARK FOR `timestamp` AS `timestamp` - INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '1000000',
  'fields.symbol.distinct' = '10',
  'fields.symbol.length' = '6',
  'fields.trader_id.distinct' = '1',
  'fields.trader_id.length' = '8',
  'fields.price.min' = '50',
  'fields.price.max' = '550',
  'fields.quantity.min' = '1',
  'fields.quantity.max' = '1000'
);

SELECT
  symbol,
  price,
  AVG(price) OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY symbol ORDER BY timestamp) AS moving_avg
FROM market_data;
