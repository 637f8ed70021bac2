SELECT symbol, price, AVG(price) OVER (PARTITION BY symbol ORDER BY "timestamp" ROWS BETWEEN 99 PRECEDING AND CURRENT ROW) AS moving_avg
FROM market_data
