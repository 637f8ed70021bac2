-- Nexmark q5. Hot items, written with the old group windows (GROUP BY HOP(…)).
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

SELECT AuctionBids.auction, AuctionBids.num, AuctionBids.starttime, AuctionBids.endtime
FROM (
  SELECT auction, COUNT(*) AS num, HOP_START(`dateTime`, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS starttime, HOP_END(`dateTime`, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS endtime
  FROM bid
  GROUP BY auction, HOP(`dateTime`, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
) AS AuctionBids
JOIN (
  SELECT MAX(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime
  FROM (
    SELECT COUNT(*) AS num, HOP_START(`dateTime`, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS starttime, HOP_END(`dateTime`, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS endtime
    FROM bid
    GROUP BY auction, HOP(`dateTime`, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
  ) AS CountBids
  GROUP BY CountBids.starttime, CountBids.endtime
) AS MaxBids
ON AuctionBids.starttime = MaxBids.starttime
   AND AuctionBids.endtime = MaxBids.endtime
   AND AuctionBids.num >= MaxBids.maxn;
