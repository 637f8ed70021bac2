-- Nexmark's q5 from Kafka to Kafka, exactly once: the auctions with the most bids of the last 10 s, every 2 s.
--
--   scripts/kafka start
--   export KAFKA=127.0.0.1:29092 VELOCORE_KAFKA=127.0.0.1:29092
--   target/debug/kafka-client create bids 4 && target/debug/kafka-client create hot-items 2
--   velocore run examples/kafka/make_bids.sql --shards 1
--   velocore run examples/kafka/hot_items.sql --checkpoint-dir state
CREATE TABLE bid (
  auction BIGINT,
  bidder BIGINT,
  price BIGINT,
  `dateTime` TIMESTAMP(3),
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'bids',
  'properties.bootstrap.servers' = '${KAFKA}',
  'scan.startup.mode' = 'earliest-offset',
  -- Reads what is there and ends; without this line it goes on with what comes.
  'scan.bounded.mode' = 'latest-offset',
  'format' = 'json'
);

CREATE TABLE hot_items (
  auction BIGINT,
  num BIGINT,
  window_start TIMESTAMP(3),
  window_end TIMESTAMP(3)
) WITH (
  'connector' = 'kafka',
  'topic' = 'hot-items',
  'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json',
  'key.fields' = 'auction',
  'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'hot-items-example'
);

CREATE VIEW auction_bids AS
SELECT auction, COUNT(*) AS num, window_start, window_end
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;

CREATE VIEW most_bids AS
SELECT MAX(num) AS maxn, window_start, window_end
FROM auction_bids
GROUP BY window_start, window_end;

INSERT INTO hot_items
SELECT a.auction, a.num, a.window_start, a.window_end
FROM auction_bids AS a
JOIN most_bids AS m
ON a.window_start = m.window_start AND a.window_end = m.window_end AND a.num >= m.maxn;
