SELECT bidder, COUNT(*) AS bid_count, starttime, starttime + INTERVAL 10 SECOND AS endtime
FROM (SELECT bidder, time_bucket(INTERVAL 10 SECOND, "dateTime") AS starttime FROM bid)
GROUP BY bidder, starttime
