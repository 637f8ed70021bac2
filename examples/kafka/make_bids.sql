-- Bids of the Nexmark generator, into the topic that hot_items.sql reads. Bids of one auction go to one partition.
CREATE TABLE generated (
  auction BIGINT,
  bidder BIGINT,
  price BIGINT,
  channel STRING,
  url STRING,
  `dateTime` TIMESTAMP(3),
  extra STRING
) WITH ('connector' = 'nexmark', 'nexmark.table' = 'bid', 'events' = '500000');

CREATE TABLE bids (
  auction BIGINT,
  bidder BIGINT,
  price BIGINT,
  channel STRING,
  url STRING,
  `dateTime` TIMESTAMP(3),
  extra STRING
) WITH (
  'connector' = 'kafka',
  'topic' = 'bids',
  'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json',
  'key.fields' = 'auction',
  'value.format' = 'json'
);

INSERT INTO bids SELECT * FROM generated;
