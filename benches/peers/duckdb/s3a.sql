SELECT trader_id, symbol, window_start, COUNT(*) AS trades, AVG(price) AS average_price, SUM(quantity) AS volume,
  SUM(price * quantity) AS turnover
FROM (SELECT *, time_bucket(INTERVAL 1 MINUTE, trade_time) AS window_start FROM market_data)
GROUP BY trader_id, symbol, window_start
