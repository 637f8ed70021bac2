WITH counts AS (
  SELECT auction, COUNT(*) AS num, starttime, starttime + INTERVAL 10 SECOND AS endtime
  FROM (
    SELECT auction, time_bucket(INTERVAL 2 SECOND, "dateTime") - k * INTERVAL 2 SECOND AS starttime
    FROM bid, (SELECT unnest(range(5)) AS k)
  )
  GROUP BY auction, starttime
)
SELECT auction, num, starttime, endtime
FROM counts
QUALIFY num = MAX(num) OVER (PARTITION BY starttime)
