SELECT symbol, COUNT(*) AS trades, AVG(price) AS average_price, MIN(price) AS lowest_price, MAX(price) AS highest_price,
  SUM(quantity) AS volume
FROM market_data GROUP BY symbol
