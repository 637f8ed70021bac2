-- Two failed logins or more and then a successful one, in less than a minute; and how many of them each minute has.
CREATE TABLE logins (
  ts     TIMESTAMP(3),
  person STRING,
  ok     BOOLEAN,
  seq    BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH ('connector' = 'filesystem', 'path' = '/data/logins', 'format' = 'json');

CREATE TABLE alarms (person STRING, failures BIGINT, since TIMESTAMP(3), ended TIMESTAMP(3)) WITH ('connector' = 'print');
CREATE TABLE alarms_per_minute (window_start TIMESTAMP(3), alarms BIGINT, failures BIGINT) WITH ('connector' = 'print');

CREATE TEMPORARY VIEW found AS
SELECT * FROM logins MATCH_RECOGNIZE (
  PARTITION BY person
  ORDER BY ts, seq DESC
  MEASURES COUNT(F.ts) AS failures, FIRST(F.ts) AS since, MATCH_ROWTIME() AS ended
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (F{2,} S) WITHIN INTERVAL '1' MINUTE
  DEFINE F AS NOT F.ok, S AS S.ok
);

INSERT INTO alarms SELECT * FROM found;

INSERT INTO alarms_per_minute
SELECT window_start, COUNT(*) AS alarms, SUM(failures) AS failures
FROM TABLE(TUMBLE(TABLE found, DESCRIPTOR(ended), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
