-- Scenario 2. GROUP BY: running figures of each of 200 symbols, one change per changed key and flush.
-- In Velostream's words; `velocore bench scenarios --scenario s2 --dialect velostream` runs it.
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

SELECT symbol, COUNT(*), AVG(price), MIN(price), MAX(price), SUM(quantity)
FROM market_data
GROUP BY symbol;
