WITH counts AS (
  SELECT auction, COUNT(*) AS num, starttime
  FROM (
    SELECT auction, date_bin(INTERVAL '2 seconds', "dateTime") - k * INTERVAL '2 seconds' AS starttime
    FROM bid CROSS JOIN (VALUES (0), (1), (2), (3), (4)) AS steps(k)
  )
  GROUP BY auction, starttime
)
SELECT c.auction, c.num, c.starttime, c.starttime + INTERVAL '10 seconds' AS endtime
FROM counts c JOIN (SELECT MAX(num) AS maxn, starttime FROM counts GROUP BY starttime) m
ON c.starttime = m.starttime AND c.num = m.maxn
