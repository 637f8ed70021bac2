-- Scenario 2. GROUP BY: running figures of each of 200 symbols, one change per changed key and flush.
-- `velocore bench scenarios --scenario s2` runs this query on data with exact key counts.
CREATE TABLE market_data (
  symbol      STRING,
  trader_id   STRING,
  price       DOUBLE,
  quantity    BIGINT,
  trade_time  TIMESTAMP(3),
  WATERMARK FOR trade_time AS trade_time - INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '1000000',
  'fields.symbol.distinct' = '200',
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
  COUNT(*) AS trades,
  AVG(price) AS average_price,
  MIN(price) AS lowest_price,
  MAX(price) AS highest_price,
  SUM(quantity) AS volume
FROM market_data
GROUP BY symbol;
