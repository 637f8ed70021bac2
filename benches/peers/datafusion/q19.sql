SELECT *, ROW_NUMBER() OVER (
         PARTITION BY auction ORDER BY price DESC, "dateTime" ASC, bidder ASC, extra ASC) AS rank_number
FROM bid
QUALIFY rank_number <= 10
