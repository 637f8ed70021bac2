-- Scenario 3a. Tumbling window: figures per minute of 50 traders × 100 symbols, once the minute is over.
-- In Velostream's words; `velocore bench scenarios --scenario s3a --dialect velostream` runs it.
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
  'fields.symbol.distinct' = '100',
  'fields.symbol.length' = '6',
  'fields.trader_id.distinct' = '50',
  'fields.trader_id.length' = '8',
  'fields.price.min' = '50',
  'fields.price.max' = '550',
  'fields.quantity.min' = '1',
  'fields.quantity.max' = '1000'
);

SELECT trader_id, symbol, COUNT(*), AVG(price), SUM(quantity), SUM(price * quantity)
FROM market_data
GROUP BY trader_id, symbol
WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE);
