-- Nexmark q6. Average selling price by seller: the mean of the winning bids of a seller's last ten auctions.
-- The published text averages with OVER … ROWS BETWEEN 10 PRECEDING AND CURRENT ROW on rows that are still
-- changing, which no streaming engine runs; this is the same question with two Top-N. The order by auction
-- breaks ties.
CREATE TABLE auction (
  id           BIGINT,
  itemName     STRING,
  description  STRING,
  initialBid   BIGINT,
  reserve      BIGINT,
  `dateTime`   TIMESTAMP(3),
  expires      TIMESTAMP(3),
  seller       BIGINT,
  category     BIGINT,
  extra        STRING,
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
  'connector' = 'nexmark',
  'nexmark.table' = 'auction',
  'events' = '1000000'
);
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

SELECT seller, AVG(price) AS average
FROM (
  SELECT seller, price, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY closed DESC, id DESC) AS auction_number
  FROM (
    SELECT A.id, A.seller, A.expires AS closed, B.price,
           ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.`dateTime` ASC) AS bid_number
    FROM auction AS A, bid AS B
    WHERE A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires
  ) AS ranked
  WHERE bid_number <= 1
) AS sold
WHERE auction_number <= 10
GROUP BY seller;
