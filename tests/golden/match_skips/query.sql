-- Prices that rise and then fall: where the next match begins behind each way to skip.
CREATE TABLE ticks (
  id    BIGINT,
  price BIGINT,
  ts    TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/data/ticks', 'format' = 'json');

CREATE TABLE past_last (id BIGINT, first_up BIGINT, last_up BIGINT, ups BIGINT, down BIGINT, total BIGINT)
  WITH ('connector' = 'print');
CREATE TABLE to_next LIKE past_last;
CREATE TABLE to_last LIKE past_last;
CREATE TABLE to_first LIKE past_last;

INSERT INTO past_last SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts
  MEASURES S.id AS id, FIRST(U.id) AS first_up, LAST(U.id) AS last_up, COUNT(U.id) AS ups, D.id AS down, SUM(price) AS total
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (S U+ D)
  DEFINE U AS U.price > PREV(U.price), D AS D.price < PREV(D.price)
);

-- The default is Flink's: the next row.
INSERT INTO to_next SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts
  MEASURES S.id AS id, FIRST(U.id) AS first_up, LAST(U.id) AS last_up, COUNT(U.id) AS ups, D.id AS down, SUM(price) AS total
  PATTERN (S U+ D)
  DEFINE U AS U.price > PREV(U.price), D AS D.price < PREV(D.price)
);

INSERT INTO to_last SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts
  MEASURES S.id AS id, FIRST(U.id) AS first_up, LAST(U.id) AS last_up, COUNT(U.id) AS ups, D.id AS down, SUM(price) AS total
  AFTER MATCH SKIP TO LAST U
  PATTERN (S U+ D)
  DEFINE U AS U.price > PREV(U.price), D AS D.price < PREV(D.price)
);

INSERT INTO to_first SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts
  MEASURES S.id AS id, FIRST(U.id) AS first_up, LAST(U.id) AS last_up, COUNT(U.id) AS ups, D.id AS down, SUM(price) AS total
  AFTER MATCH SKIP TO FIRST D
  PATTERN (S U+ D)
  DEFINE U AS U.price > PREV(U.price), D AS D.price < PREV(D.price)
);
