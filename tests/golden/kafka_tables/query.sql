-- Tables over topics: metadata columns, keys, a topic that replaces rows by their key as a source and as a sink.
CREATE TABLE trades (
  symbol STRING,
  quantity BIGINT,
  ts TIMESTAMP(3),
  part INT METADATA FROM 'partition' VIRTUAL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'trades',
  'properties.bootstrap.servers' = '${KAFKA}',
  'scan.startup.mode' = 'earliest-offset',
  'key.format' = 'json',
  'key.fields' = 'symbol',
  'value.format' = 'json'
);

CREATE TABLE names (symbol STRING, name STRING, PRIMARY KEY (symbol) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'names',
  'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json',
  'value.format' = 'json'
);

CREATE TABLE minutes (symbol STRING, window_end TIMESTAMP(3), quantity BIGINT, parts BIGINT) WITH (
  'connector' = 'kafka',
  'topic' = 'minutes',
  'properties.bootstrap.servers' = '${KAFKA}',
  'format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'minutes'
);

CREATE TABLE totals (symbol STRING, name STRING, quantity BIGINT, PRIMARY KEY (symbol) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'totals',
  'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json',
  'value.format' = 'json',
  'value.fields-include' = 'EXCEPT_KEY'
);

EXECUTE STATEMENT SET BEGIN
INSERT INTO minutes
SELECT symbol, window_end, SUM(quantity), COUNT(DISTINCT part)
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY symbol, window_start, window_end;
INSERT INTO totals
SELECT t.symbol, MAX(n.name), SUM(t.quantity)
FROM trades AS t JOIN names AS n ON t.symbol = n.symbol
GROUP BY t.symbol;
END;
