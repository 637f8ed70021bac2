WITH b AS (SELECT auction, price, bidder, "dateTime", date_bin(INTERVAL '10 seconds', "dateTime") AS window_start FROM bid)
SELECT b.auction, b.price, b.bidder, b."dateTime", b.window_start, b.window_start + INTERVAL '10 seconds' AS window_end
FROM b JOIN (SELECT MAX(price) AS maxprice, window_start FROM b GROUP BY window_start) m
ON b.window_start = m.window_start AND b.price = m.maxprice
