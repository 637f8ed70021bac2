-- How many rows a quantifier takes: as many as it can, or, with ? behind it, as few.
CREATE TABLE ticks (
  id    BIGINT,
  price BIGINT,
  ts    TIMESTAMP(3),
  WATERMARK FOR ts AS ts
) WITH ('connector' = 'filesystem', 'path' = '/data/ticks', 'format' = 'json');

CREATE TABLE greedy (id BIGINT, between_them BIGINT, last_id BIGINT) WITH ('connector' = 'print');
CREATE TABLE reluctant LIKE greedy;
CREATE TABLE bounded LIKE greedy;
CREATE TABLE averages (id BIGINT, rows_taken BIGINT, average BIGINT) WITH ('connector' = 'print');
CREATE TABLE groups (id BIGINT, between_them BIGINT, last_id BIGINT) WITH ('connector' = 'print');

INSERT INTO greedy SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts MEASURES A.id AS id, COUNT(B.id) AS between_them, C.id AS last_id
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B* C)
  DEFINE A AS A.price > 15, B AS B.price < 15, C AS C.price > 10
);
INSERT INTO reluctant SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts MEASURES A.id AS id, COUNT(B.id) AS between_them, C.id AS last_id
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B*? C)
  DEFINE A AS A.price > 15, B AS B.price < 15, C AS C.price > 10
);
INSERT INTO bounded SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts MEASURES A.id AS id, COUNT(B.id) AS between_them, C.id AS last_id
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B{1,2} C)
  DEFINE A AS A.price > 15, B AS B.price < 15, C AS C.price > 10
);
-- The average so far, the row that is looked at included.
INSERT INTO averages SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts MEASURES FIRST(A.id) AS id, COUNT(A.id) AS rows_taken, AVG(A.price) AS average
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A+ B)
  DEFINE A AS AVG(A.price) < 15
);
-- Groups and alternatives are more than Flink has.
INSERT INTO groups SELECT * FROM ticks MATCH_RECOGNIZE (
  ORDER BY ts MEASURES A.id AS id, COUNT(B.id) AS between_them, LAST(id) AS last_id
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A (B C | B){2} D)
  DEFINE A AS A.price > 15, B AS B.price < 12, C AS C.price > 12, D AS D.price > 0
);
