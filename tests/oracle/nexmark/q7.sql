SELECT auction, price, bidder, "dateTime", window_start, window_start + INTERVAL 10 SECOND AS window_end
FROM (SELECT *, time_bucket(INTERVAL 10 SECOND, "dateTime") AS window_start FROM bid)
QUALIFY price = MAX(price) OVER (PARTITION BY window_start)
