-- Bids at the same instant are numbered alike (RANGE), whichever of them comes first.
WITH marked AS (
  SELECT bidder, "dateTime",
         CASE WHEN "dateTime" < LAG("dateTime") OVER w + INTERVAL '10 seconds' THEN 0 ELSE 1 END AS is_first
  FROM bid
  WINDOW w AS (PARTITION BY bidder ORDER BY "dateTime")
), numbered AS (
  SELECT bidder, "dateTime",
         SUM(is_first) OVER (PARTITION BY bidder ORDER BY "dateTime" RANGE UNBOUNDED PRECEDING) AS session
  FROM marked
)
SELECT bidder, COUNT(*) AS bid_count, MIN("dateTime") AS starttime,
       MAX("dateTime") + INTERVAL '10 seconds' AS endtime
FROM numbered
GROUP BY bidder, session
