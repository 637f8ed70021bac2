-- Nexmark q19. Auction Top-10: the ten highest bids of each auction, numbered. Time, bidder and `extra` break ties of
-- price, which the published text leaves open.
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

SELECT *
FROM (
  SELECT *, ROW_NUMBER() OVER (
           PARTITION BY auction ORDER BY price DESC, `dateTime` ASC, bidder ASC, extra ASC) AS rank_number
  FROM bid
) AS ranked
WHERE rank_number <= 10;
