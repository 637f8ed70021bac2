SELECT P.id, P.name, P.starttime
FROM (SELECT DISTINCT id, name, date_bin(INTERVAL '10 seconds', "dateTime") AS starttime FROM person) AS P
JOIN (SELECT DISTINCT seller, date_bin(INTERVAL '10 seconds', "dateTime") AS starttime FROM auction) AS A
ON P.id = A.seller AND P.starttime = A.starttime
