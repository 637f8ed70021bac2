WITH counts AS (
  SELECT auction, COUNT(*) AS num, starttime
  FROM (
    SELECT auction, date_bin(INTERVAL '2 seconds', "dateTime") - k AS starttime
    FROM bid CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
      (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS steps(k)
  )
  GROUP BY auction, starttime
)
SELECT c.auction, c.num, c.starttime, c.starttime + INTERVAL '10 seconds' AS endtime
FROM counts c JOIN (SELECT MAX(num) AS maxn, starttime FROM counts GROUP BY starttime) m
ON c.starttime = m.starttime AND c.num = m.maxn
