WITH winning AS (
  SELECT A.id, A.seller, A.expires AS closed, MAX(B.price) AS price
  FROM auction AS A, bid AS B
  WHERE A.id = B.auction AND B."dateTime" BETWEEN A."dateTime" AND A.expires
  GROUP BY A.id, A.seller, A.expires
)
SELECT seller, CAST(SUM(price) // COUNT(*) AS BIGINT) AS average
FROM (
  SELECT seller, price FROM winning
  QUALIFY ROW_NUMBER() OVER (PARTITION BY seller ORDER BY closed DESC, id DESC) <= 10
)
GROUP BY seller
