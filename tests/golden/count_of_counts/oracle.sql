SELECT trades, COUNT(*) AS symbols, CAST(SUM(volume) // COUNT(volume) AS BIGINT) AS mean_volume
FROM (SELECT symbol, COUNT(*) AS trades, SUM(quantity) AS volume FROM trades GROUP BY symbol)
GROUP BY trades
