-- All departures from New York in 2013 (nycflights13, CC0): per airport and hour, how many there
-- were, how many never left, and how late the others were.
CREATE TABLE flights (
  scheduled TIMESTAMP(3),
  origin    STRING,
  dest      STRING,
  carrier   STRING,
  flight    INT,
  dep_delay INT,
  WATERMARK FOR scheduled AS scheduled
) WITH (
  'connector' = 'filesystem',
  'path' = 'examples/flights/flights.csv.zst',
  'format' = 'csv'
);

SELECT
  window_start                                            AS `hour`,
  origin,
  COUNT(*)                                                AS departures,
  COUNT(*) FILTER (WHERE dep_delay IS NULL)               AS cancelled,
  PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY dep_delay)  AS delay_p50,
  PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY dep_delay)  AS delay_p90,
  MAX(dep_delay)                                          AS delay_max
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(scheduled), INTERVAL '1' HOUR))
GROUP BY origin, window_start, window_end;
