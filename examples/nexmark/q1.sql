-- Nexmark q1. Currency conversion: dollars to euros, exactly.
CREATE TABLE bid (
  auction    BIGINT,
  bidder     BIGINT,
  price      BIGINT,
  channel    STRING,
  url        STRING,
  `dateTime` TIMESTAMP(3),
  extra      STRING,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
  'connector' = 'nexmark',
  'nexmark.table' = 'bid',
  'events' = '1000000'
);

SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM bid;
